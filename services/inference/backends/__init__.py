"""What an inference backend is: one Protocol, what it is given, what it gives back, and the two ways it ends early."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Protocol, runtime_checkable
from uuid import UUID

from shared.events import FailureReason, Lane
from shared.library.documents import Call


async def keep_nothing(provider_request_id: str) -> None:
    """For calls of which nobody keeps the provider's id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A picture to start from: one file as intake stored it, PNG, width and height in pixels.

    `role`: `reference`, or `mask`, which is as large as the reference: what is white is made anew, what is black stays.
    """

    role: str
    data: bytes
    media_type: str
    width: int
    height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Lora:
    """An addition to the model's weights, by the name that the backend knows it by."""

    name: str
    weight: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """One attempt at one image; width and height in pixels, `label` names the template ("product-tile@3").

    `keep_id`: to be awaited as soon as the provider has named its id of the call, long before its outcome is known.
    `strength`: how far the image may leave its reference, from 0 (not at all) to 1 (as if there were none).
    `shapes`: the batch shapes that its denoising steps must go through, the last one holding for all that remain, and
    `places`: which row of the batch it must be in each;
    `alone`: nothing else may be made in the same process meanwhile. `preview`: is given a step and a thumbnail (JPEG)
    now and then. Backends without these pass over them.
    """

    job_id: UUID
    run: int
    attempt_id: UUID
    prompt: str
    negative_prompt: str
    width: int
    height: int
    steps: int
    guidance: float
    scheduler: str
    seed: int
    model: str
    scene: Mapping[str, Any]
    label: str
    call: Call | None = None
    keep_id: Callable[[str], Awaitable[None]] = keep_nothing
    sources: tuple[Source, ...] = ()
    strength: float | None = None
    loras: tuple[Lora, ...] = ()
    lane: Lane = Lane.STANDARD
    shapes: tuple[int, ...] | None = None
    places: tuple[int, ...] | None = None
    alone: bool = False
    preview: Callable[[int, bytes], None] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Generated:
    """An image, how it was made, and what it cost; `focal` is x, y and `live_area` left, top, right, bottom, 0..1.

    `cost` is None where the backend does not know it: the worker then prices the attempt from the routes, never as 0,
    and `charges` times where the provider made more pictures than one. `latency_seconds`: how long the call took.
    `device_seconds`: of a device of ours, the time of its steps, each shared by those that took it together.
    """

    image: bytes
    width: int
    height: int
    media_type: str = "image/png"
    manifest: dict[str, Any]
    mask: bytes | None = None
    focal: tuple[float, float] | None = None
    live_area: tuple[float, float, float, float] | None = None
    cost: Decimal | None = None
    currency: str = "USD"
    charges: int = 1
    provider_request_id: str | None = None
    latency_seconds: float | None = None
    device_seconds: float | None = None


class BackendFailure(Exception):
    """The attempt failed; `uncertain` where the provider may have made and billed the image all the same.

    `billed`: whether the attempt costs its list price all the same, None where nobody knows. `after`: seconds that the
    provider asked us to wait before the next try. `busy`: it was asked too often, which is no failure of the job.
    `shared`: its process ended, or had no memory left, with others in it, so this image may have had no part in it.
    `answered`: the provider itself told that this image failed, so that it is not away.
    """

    def __init__(
        self,
        reason: FailureReason,
        detail: str,
        *,
        retriable: bool,
        uncertain: bool = False,
        billed: bool | None = None,
        after: float | None = None,
        busy: bool = False,
        remedy: str | None = None,
        provider_request_id: str | None = None,
        shared: bool = False,
    ) -> None:
        super().__init__(f"{reason.value}: {detail}")
        self.reason = reason
        self.detail = detail
        self.retriable = retriable
        self.uncertain = uncertain
        self.billed = billed
        self.after = after
        self.busy = busy
        self.remedy = remedy
        self.provider_request_id = provider_request_id
        self.latency_seconds: float | None = None
        self.device_seconds: float | None = None
        self.shared = shared
        self.answered = False


class GenerationCancelled(Exception):
    """The backend was asked to stop, and stopped; `billed` as in BackendFailure."""

    def __init__(self, *, billed: bool | None = None, device_seconds: float | None = None) -> None:
        super().__init__()
        self.billed = billed
        self.device_seconds = device_seconds


class Backend(Protocol):
    """Makes one image at a time per call; calls may overlap."""

    name: str

    async def generate(
        self, work: Generation, *, progress: Callable[[int, int], None], cancelled: Callable[[], bool]
    ) -> Generated:
        """The image of `work`; calls `progress(0, steps)` as it begins, then after each step; asks `cancelled()`."""
        ...

    async def close(self) -> None: ...


@runtime_checkable
class Resumable(Protocol):
    """A backend whose provider can be asked again for what it was told to make."""

    async def resume(
        self, work: Generation, provider_request_id: str, *, progress: Callable[[int, int], None]
    ) -> Generated:
        """The image of a call that another worker made; asks for what is under way there and orders nothing."""
        ...
