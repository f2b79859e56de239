"""The same six steps as a chain of Celery tasks on Redis: `vs_celery`'s arm.

A step validates the event and returns it to the next of the chain; late acknowledgement and no result backend, as one
would run it where no job may be lost.
"""

import os

from celery import Celery, chain
from redis import Redis

from shared.events import PromptAssembled

STEPS = 6
REDIS_URL = os.environ.get("CALOTYPE_BENCH_REDIS", "redis://127.0.0.1:6379/0")
app = Celery("calotype-bench", broker=REDIS_URL)
app.conf.update(
    task_acks_late=True,
    task_ignore_result=True,
    worker_prefetch_multiplier=16,
    broker_connection_retry_on_startup=True,
)
counter = Redis.from_url(REDIS_URL)


@app.task(name="step")  # type: ignore[untyped-decorator]  # Celery ships no types
def step(body: str, number: int) -> str:
    event = PromptAssembled.model_validate_json(body)
    if number == STEPS:
        counter.incr("done")
    return event.body().decode()


def submit(body: str) -> None:
    """One job: the chain of six."""
    first = step.s(body, 1)
    chain(first, *(step.s(number) for number in range(2, STEPS + 1))).apply_async()
