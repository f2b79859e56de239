"""How one model's step is shared: which component takes it, and which of its arguments have a row for every image.

Everything else about a pipeline stays the pipeline's own code, which runs once for every image: its checks, its prompt
encoding, its scheduler, its guidance, its decoder. A pipeline without an adapter runs alone.
"""

import copy
import inspect
import itertools
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch

from services.inference.backends.diffusion.planner import Batch


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
    def is_recordable(self) -> bool:
        """Whether its step can be a CUDA graph: it is on such a device, and every tensor in it has rows."""
        rows = (*self.adapter.rows, self.adapter.step)
        return self.device.type == "cuda" and all(
            name in rows for name, value in self.said.items() if isinstance(value, torch.Tensor)
        )

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
        return torch.as_tensor(value, device=self.device).expand(self.rows) if name == self.adapter.step else value

    def _kind(self, name: str, value: Any) -> tuple[Hashable, ...]:
        if name == self.adapter.step:
            return (str(getattr(value, "dtype", type(value))),)
        if name in self.adapter.rows and value is not None:
            return tuple(value.shape[1:]), str(value.dtype)
        # A tensor of which nobody says that it has rows: this call shares with none.
        return (id(value) if isinstance(value, torch.Tensor) else repr(value),)


def together(calls: Sequence[Call], batch: Batch) -> list[Any]:
    """What each of `calls`, which are of one group, would have got. A recorded step begins from the joined rows too."""
    if batch.shape == 1 and calls[0].device.type != "cuda":
        return [calls[0].alone()]
    return parted(calls[0].forward(**nested(joined(calls, batch))), calls, batch)


def joined(calls: Sequence[Call], batch: Batch) -> dict[str, Any]:
    """What is said in one call of them all, by its flat names; places that nobody has repeat the first of them."""
    first, seated = calls[0], dict(zip(batch.places, calls, strict=True))
    padded = [seated.get(place, first) for place in range(batch.shape)]
    rows = (*first.adapter.rows, first.adapter.step)
    # Rows may lie in memory in other orders, which a joined tensor would take over: another order is another sum.
    return {
        name: torch.cat([call.part(name).contiguous() for call in padded])
        if value is not None and name in rows
        else value
        for name, value in first.said.items()
    }


def nested(said: Mapping[str, Any]) -> dict[str, Any]:
    """As arguments, of names that `_flat` made."""
    arguments: dict[str, Any] = {}
    for name, value in said.items():
        outer, _, inner = name.partition(".")
        if inner:
            arguments.setdefault(outer, {})[inner] = value
        else:
            arguments[outer] = value
    return arguments


def parted(predicted: Sequence[Any], calls: Sequence[Call], batch: Batch) -> list[Any]:
    """Copies: a row does not keep its neighbours' memory alive, and lies as it would have lain alone."""
    rows = calls[0].rows
    return [tuple(part[place * rows : (place + 1) * rows].clone() for part in predicted) for place in batch.places]


def _flat(items: Any) -> Iterator[tuple[str, Any]]:
    for name, value in items:
        if isinstance(value, dict) and value:
            yield from ((f"{name}.{key}", inner) for key, inner in value.items())
        else:
            yield name, value
