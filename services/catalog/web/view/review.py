"""The review page: what waits, one asset looked at, and what is answered to a decision."""

from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from services.catalog.web.view.everywhere import Choice, Decision, Mark, Money, Picture


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One asset in the filmstrip. `name` as in the inspector; `label` is short ("1 of 3").

    `thumb` and `url` are the 320 and 1024 px proxies (the neighbours' are fetched ahead), None where bytes are missing.
    """

    asset_id: UUID
    name: str
    label: str
    state: Mark
    thumb: str | None
    url: str | None = None
    width: int = 1
    height: int = 1
    by: str | None = None
    apart: str | None = None
    """What is unlike the rest of its set, where the queue is ordered by that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameSet:
    """The variants of one request, in variant order."""

    request_id: UUID
    name: str
    frames: tuple[Frame, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Today: of `total` assets that came to review, `decided` are decided, and `accepted` of those approved."""

    decided: int
    total: int
    accepted: int
    minutes_left: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RubricLine:
    """`key` is what a decision records; `met` as recorded, where the asset is decided."""

    key: str
    words: str
    met: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectionCode:
    key: str
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """An automatic check: the number and its limit in `measure` ("ΔE 3.1 ≤ 6")."""

    name: str
    ok: bool
    measure: str
    blocking: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeBy:
    """`backend` in words ("proof on this machine"); `why` is the route's reason."""

    backend: str
    model: str
    seed: int
    cost: Money
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """The asset on the stage. `picture` is None when its bytes are missing, and `missing` says why."""

    asset_id: UUID
    asset_version_id: UUID
    review_version: int
    job_id: UUID
    name: str
    line: str
    """What the toolbar says: "Salt Marsh candle · lifestyle · variant 2 of 3"."""
    state: Mark
    picture: Picture | None
    position: int
    """1-based place in its request's set, of `of`."""
    of: int
    sku: str
    campaign: str
    asked: tuple[str, ...]
    """The brief in a person's words: headline, setting, season, locale."""
    rubric_label: str
    rubric: tuple[RubricLine, ...]
    checks: tuple[Check, ...]
    made_by: MadeBy
    product: Picture | None = None
    missing: str | None = None
    decision: Decision | None = None
    confidentiality: str = "public"
    apart: tuple[str, ...] = ()
    """In what it is unlike the rest of its set, the worst first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """The Review page. `shown` is None when nothing waits in this queue.

    `sets` is a window of the filmstrip around the shown asset: the sets of the queue, and with `to_review` also sets
    finished a moment ago, so that a set does not vanish under the reviewer's eyes. `earlier` and `later` are assets
    just outside the window.
    `next_open` is where a decision leads: the next asset without one, after the shown asset, from the front at the end.
    `cursor` is the id of the newest event the page already contains: `/v1/events?after=<cursor>` begins there.
    """

    queue: str
    campaign: str | None
    queues: tuple[Choice, ...]
    """In this order: to_review, approved, rejected; counts within the chosen campaign."""
    campaigns: tuple[Choice, ...]
    pace: Pace
    sets: tuple[FrameSet, ...]
    shown: Shown | None
    next_open: UUID | None
    codes: tuple[RejectionCode, ...]
    """At most nine: a digit each."""
    cursor: int
    last: Decision | None = None
    """The viewer's decision named by `ReviewQuery.last`, while it can still be undone."""
    earlier: UUID | None = None
    later: UUID | None = None
    by_outliers: bool = False
    """Ordered by how unlike the rest of their sets pictures are, the most unlike first; else by arrival."""
    coming: str | None = None
    """Where nothing waits: when the next assets land ("3 jobs are running, the next in about 20 s")."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewQuery:
    """`asset` None means the first open one. `last` names the decision the toast is about."""

    queue: str = "to_review"
    campaign: str | None = None
    asset: UUID | None = None
    last: UUID | None = None
    by_outliers: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """A decision as the form sends it: on the version the person saw, building on the review they saw."""

    asset_id: UUID
    asset_version_id: UUID
    review_version: int
    decision: Literal["approve", "reject"]
    code: str | None = None
    reason: str | None = None
    rubric: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    decision_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """Somebody else's decision stands, or the asset has changed since the page was drawn."""

    what: str
    """"Mara Lind approved at 14:02 UTC"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Undone:
    """Taken back within the window: the asset waits for a person again."""

    asset_id: UUID
