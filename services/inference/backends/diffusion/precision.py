"""torch's default type, which is the whole process's, made the loading thread's own.

Libraries set it while they build a model's layers. Whatever runs beside that would compute in it too: a scheduler
between two steps of another image, an encoder.
"""

import threading
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

# What layers make their weights of without naming a type.
MADE_BY_DEFAULT = frozenset({torch.empty, torch.ones, torch.rand, torch.randn, torch.zeros})


class _Default(threading.local):
    dtype = torch.float32


_default = _Default()


def isolate() -> None:
    """From now on only `Loading` hears of `torch.set_default_dtype`, and only in the thread that calls it."""
    torch.set_default_dtype = lambda dtype: setattr(_default, "dtype", dtype)
    torch.get_default_dtype = lambda: _default.dtype


class Loading(TorchFunctionMode):  # type: ignore[misc]  # torch says nothing of its type
    """While a model loads in this thread: its weights have the type that was asked for."""

    def __torch_function__(self, function: Any, _: Any, args: Any = (), kwargs: Any = None) -> Any:
        named = dict(kwargs or {})
        if function in MADE_BY_DEFAULT and named.get("dtype") is None:
            named["dtype"] = _default.dtype
        return function(*args, **named)
