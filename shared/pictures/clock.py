"""A clock for decoders that nothing they do can stop."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

ENDED = signal.SIGPROF  # what the process dies of


@contextmanager
def decoding(seconds: float | None) -> Iterator[None]:
    """Ends this process once so much processor time went by in here: by the kernel, whoever holds the GIL.

    Processor time, so that a busy machine makes no picture too slow. Whoever waits without any has the parent's clock.
    """
    if seconds is None:
        yield
        return
    signal.signal(ENDED, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
