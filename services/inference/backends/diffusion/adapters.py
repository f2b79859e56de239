"""How one model's step is shared: which component takes it, and which of its arguments have a row for every image.

Everything else about a pipeline stays the pipeline's own code, which runs once for every image: its checks, its prompt
encoding, its scheduler, its guidance, its decoder. A pipeline without an adapter runs alone.
"""

import copy
import inspect
import itertools
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True, slots=True)
class Adapter:
    """`rows`: arguments of `core` with the batch as their first dimension, `name.key` for an entry of a dict.

    `step` may be one number for a whole call. The first of `rows` is never missing. `reference` and `masked` are the
    pipelines of the same components that begin with a picture; they call `core` as the first one does.
    """

    core: str
    rows: tuple[str, ...]
    reference: str
    masked: str
    step: str = "timestep"


_UNET = ("sample", "encoder_hidden_states", "timestep_cond")
ADAPTERS = {
    "StableDiffusionPipeline": Adapter(
        "unet",
        _UNET,
        reference="StableDiffusionImg2ImgPipeline",
        masked="StableDiffusionInpaintPipeline",
    ),
    "StableDiffusionXLPipeline": Adapter(
        "unet",
        (*_UNET, "added_cond_kwargs.text_embeds", "added_cond_kwargs.time_ids"),
        reference="StableDiffusionXLImg2ImgPipeline",
        masked="StableDiffusionXLInpaintPipeline",
    ),
    "StableDiffusion3Pipeline": Adapter(
        "transformer",
        ("hidden_states", "encoder_hidden_states", "pooled_projections"),
        reference="StableDiffusion3Img2ImgPipeline",
        masked="StableDiffusion3InpaintPipeline",
    ),
}


SERIALS = itertools.count()


class Core:
    """The component of a loaded pipeline that takes its steps, as it was before anything held its calls back."""

    def __init__(self, adapter: Adapter, module: Any) -> None:
        self.adapter = adapter
        self.forward: Callable[..., Any] = module.forward
        self.signature = inspect.signature(module.forward)
        self.serial = next(SERIALS)

    def within(self, around: Callable[[], AbstractContextManager[None]]) -> "Core":
        """The same core, whose calls are another group's: each runs within what `around` gives."""

        def forward(*args: Any, **kwargs: Any) -> Any:
            with around():
                return self.forward(*args, **kwargs)

        other = copy.copy(self)
        other.forward, other.serial = forward, next(SERIALS)
        return other


class Call:
    """One image's step: a call of its model's core, held back; two rows with guidance, one without the prompt."""

    def __init__(self, core: "Core", args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.adapter = core.adapter
        self.forward = core.forward
        self.serial = core.serial
        self.said = dict(_flat(core.signature.bind(*args, **kwargs).arguments.items()))
        self.rows: int = self.said[core.adapter.rows[0]].shape[0]
        self._given = args, kwargs

    @property
    def device(self) -> torch.device:
        device: torch.device = self.said[self.adapter.rows[0]].device
        return device

    @property
    def group(self) -> Hashable:
        """Equal for calls that can be one: what has rows is of one shape and type, all else is the same.

        It outlives its core, whose address another one may have by then: a serial number is no other's.
        """
        return self.serial, self.rows, *((name, *self._kind(name, value)) for name, value in self.said.items())

    def alone(self) -> Any:
        """As the pipeline called it, argument by argument: what it would have got without us."""
        args, kwargs = self._given
        return self.forward(*args, **kwargs)

    def part(self, name: str) -> Any:
        value = self.said[name]
        return torch.as_tensor(value).expand(self.rows) if name == self.adapter.step else value

    def _kind(self, name: str, value: Any) -> tuple[Hashable, ...]:
        if name == self.adapter.step:
            return (str(getattr(value, "dtype", type(value))),)
        if name in self.adapter.rows and value is not None:
            return tuple(value.shape[1:]), str(value.dtype)
        # A tensor of which nobody says that it has rows: this call shares with none.
        return (id(value) if isinstance(value, torch.Tensor) else repr(value),)


def together(calls: Sequence[Call], shape: int) -> list[Any]:
    """What each of `calls`, which are of one group, would have got; rows beyond them repeat the last one."""
    if shape == 1:
        return [calls[0].alone()]
    first, padded = calls[0], [*calls, *[calls[-1]] * (shape - len(calls))]
    said: dict[str, Any] = {}
    for name, value in first.said.items():
        outer, _, inner = name.partition(".")
        has_rows = value is not None and name in (*first.adapter.rows, first.adapter.step)
        # Rows may lie in memory in other orders, which a joined tensor would take over: another order is another sum.
        joined = torch.cat([call.part(name).contiguous() for call in padded]) if has_rows else value
        if inner:
            said.setdefault(outer, {})[inner] = joined
        else:
            said[outer] = joined
    predicted, rows = first.forward(**said), first.rows
    # Copies: a row does not keep its neighbours' memory alive, and lies as it would have lain alone.
    return [tuple(part[place * rows : (place + 1) * rows].clone() for part in predicted) for place in range(len(calls))]


def _flat(items: Any) -> Iterator[tuple[str, Any]]:
    for name, value in items:
        if isinstance(value, dict) and value:
            yield from ((f"{name}.{key}", inner) for key, inner in value.items())
        else:
            yield name, value
