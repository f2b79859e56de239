import asyncio
import os
import signal

from structlog.testing import capture_logs

from shared.stacks import show_on_signal


async def forever() -> None:
    await asyncio.Event().wait()


async def outer() -> None:
    await forever()


async def test_a_signal_tells_what_every_task_waits_for_and_ends_nothing() -> None:
    task = asyncio.create_task(outer(), name="stuck")
    loop = asyncio.get_running_loop()
    show_on_signal(loop)
    try:
        with capture_logs() as lines:
            os.kill(os.getpid(), signal.SIGUSR1)
            while not lines:
                await asyncio.sleep(0)
    finally:
        loop.remove_signal_handler(signal.SIGUSR1)
        task.cancel()
    (at,) = (line["at"] for line in lines if line["task"] == "stuck")
    assert [place.split(" ")[0] for place in at] == ["outer", "forever", "Event.wait"]
    assert __file__ in at[0]
