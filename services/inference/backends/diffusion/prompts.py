"""What a model's encoders made of the prompts they were given last."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

# A prompt of the largest encoders takes 5 MB, one of the common ones 0.3.
REMEMBERED_BYTES = 64 * 2**20


class Prompts:
    """By all that the encoder is told; what was used last stays."""

    def __init__(self, *, limit: int = REMEMBERED_BYTES) -> None:
        """`limit`: bytes of tensors; what was made last is kept in any case."""
        self._limit = limit
        self._known: OrderedDict[str, Any] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()  # of what is known: held for a moment
        self._encoding = threading.Lock()

    def remembering(self, encode: Callable[..., Any]) -> Callable[..., Any]:
        def encoded(*args: Any, **kwargs: Any) -> Any:
            key = repr((args, sorted(kwargs.items())))
            if "tensor(" in key:
                return encode(*args, **kwargs)
            if (made := self._remembered(key)) is None:
                # Every image has a thread, and variants of a prompt come together: the first encodes, the others wait.
                with self._encoding:
                    if (made := self._remembered(key)) is None:
                        made = encode(*args, **kwargs)
                        self._keep(key, made)
            return made

        return encoded

    def _remembered(self, key: str) -> Any:
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
            return self._known.get(key)

    def _keep(self, key: str, made: Any) -> None:
        with self._lock:
            self._known[key] = made
            self._bytes += _size(made)
            while self._bytes > self._limit and len(self._known) > 1:
                self._bytes -= _size(self._known.popitem(last=False)[1])


def _size(made: Any) -> int:
    """Bytes of a tensor, or of the tensors of a tuple; what is none of these has none."""
    return sum(getattr(part, "nbytes", 0) for part in (made if isinstance(made, tuple | list) else [made]))
