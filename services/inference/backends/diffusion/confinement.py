"""What the model process gives up: the network, and memory beyond its share."""

import resource
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

# The kernel, short of memory, ends this process before the worker that holds the leases.
OOM_SCORE = "800"
NETWORK = frozenset({"socket.connect", "socket.getaddrinfo", "socket.bind"})


def withdraw() -> None:
    """Model code reaches no network, even where a library forgets its own offline switch."""

    def refuse(event: str, _: tuple[Any, ...]) -> None:
        if event in NETWORK:
            raise PermissionError("the model process has no network")

    sys.addaudithook(refuse)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(OOM_SCORE)


def limit_memory(beyond: int) -> None:
    """An image too large for its share fails as one allocation, before the whole machine is short of memory."""
    taken = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmData:"))
    limit = int(taken.split()[1]) * 1024 + beyond
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
