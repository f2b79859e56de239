"""What a model may do for an operation or a check, without the library that runs it (`models.py`)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from services.postprocess.pixels import Pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class Models:
    """What the installation has a model for; each raises ModelFailed.

    `cut_out`: RGB → alpha of the same size. `upscale`: pixels, width, height → enlarged to these. `moderation`: RGB →
    0 (harmless) to 1. `names`: of each that there is, its file, SHA-256 and the version that runs it, for manifests.
    """

    cut_out: Callable[[Pixels], Pixels] | None = None
    upscale: Callable[[Pixels, int, int], Pixels] | None = None
    moderation: Callable[[Pixels], float] | None = None
    names: Mapping[str, str] = field(default_factory=dict)


NO_MODELS = Models()
