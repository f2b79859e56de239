"""What a process that reads strangers' bytes does: it confines itself, takes orders on stdin, answers on stdout.

It holds no key and no address, may not write files, and has a memory limit. On the wire both ways: four bytes of
length, a JSON header of that length, then the blobs whose sizes the header names.
"""

import json
import os
import resource
import struct
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

LENGTH = struct.Struct("!I")
# It yields to event loops: on a busy machine heartbeats and answers come first.
NICENESS = 5


def confine(*, memory_mb: int) -> BinaryIO:
    """From here on this process is a child; what it returns is where its answers go.

    That is what stdout was. Whatever a library prints goes to stderr and cannot garble them.
    """
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    os.nice(NICENESS)
    memory = memory_mb * 1024 * 1024
    for limit, most in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_CORE, 0), (resource.RLIMIT_FSIZE, 0)):
        resource.setrlimit(limit, (most, most))
    return answers


def hear(stream: BinaryIO) -> tuple[dict[str, Any], list[bytes]] | None:
    """The next message, or None when the other side has closed its end, or has died."""
    start = stream.read(LENGTH.size)
    if len(start) < LENGTH.size:
        return None
    header = json.loads(stream.read(LENGTH.unpack(start)[0]))
    blobs = [stream.read(size) for size in header["sizes"]]
    return (header, blobs) if [len(blob) for blob in blobs] == header["sizes"] else None


def tell(stream: BinaryIO, header: Mapping[str, Any], blobs: Sequence[bytes] = ()) -> None:
    stream.writelines((message_head(header, blobs), *blobs))
    stream.flush()


def message_head(header: Mapping[str, Any], blobs: Sequence[bytes]) -> bytes:
    told = json.dumps({**header, "sizes": [len(blob) for blob in blobs]}).encode()
    return LENGTH.pack(len(told)) + told
