"""The words of the domain that several events share: one enum each, the same names everywhere."""

from decimal import Decimal
from typing import Annotated
from uuid import UUID

from pydantic import Field

from shared.events.envelope import Body, OpenEnum

# Which run of a job it is: what a column of ours holds, so that every service calls the same record bad.
Run = Annotated[int, Field(ge=1, lt=2**31)]


# What the rendition of an original is called, as people and targets see it.
ORIGINAL = "original"


class JobStatus(OpenEnum):
    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    FAILED = "failed"
    REJECTED = "rejected"
    APPROVED = "approved"
    UNKNOWN = "unknown"


class FailureReason(OpenEnum):
    INVALID_REQUEST = "invalid_request"
    POLICY_REFUSED = "policy_refused"
    UNROUTABLE = "unroutable"
    MISSING_SOURCE = "missing_source"
    MODEL_TIMEOUT = "model_timeout"
    CONTENT_FILTERED = "content_filtered"
    BACKEND_UNAVAILABLE = "backend_unavailable"
    OUT_OF_MEMORY = "out_of_memory"
    CORRUPT_OUTPUT = "corrupt_output"
    UPLOAD_FAILED = "upload_failed"
    EXPIRED = "expired"
    INTERNAL = "internal"
    UNKNOWN = "unknown"


class WaitingOn(OpenEnum):
    WORKER = "worker"
    RATE = "rate"
    CAP = "cap"
    BREAKER = "breaker"
    RETRY = "retry"
    BASE = "base"
    EMBARGO = "embargo"
    REVIEW = "review"
    UNKNOWN = "unknown"


class Lane(OpenEnum):
    DEDICATED = "dedicated"
    STANDARD = "standard"
    BULK = "bulk"
    UNKNOWN = "unknown"


class Reproducible(OpenEnum):
    """What an image made beside others can be made again from.

    `shape`: the batch shapes it happened to go through, which its manifest records. `strict`: its steps are its own, so
    that alone and in a crowd it has the same bytes, at the price of sharing none.
    """

    SHAPE = "shape"
    STRICT = "strict"
    UNKNOWN = "unknown"


class Priority(OpenEnum):
    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"
    UNKNOWN = "unknown"


class Confidentiality(OpenEnum):
    """Ordered by `rank`; an unknown level ranks above all, so nothing lets it out."""

    PUBLIC = "public"
    INTERNAL = "internal"
    CONFIDENTIAL = "confidential"
    UNKNOWN = "unknown"

    @property
    def rank(self) -> int:
        return list(Confidentiality).index(self)

    @property
    def stays_private(self) -> bool:
        """Whether such work is made on private backends only."""
        return self.rank >= Confidentiality.CONFIDENTIAL.rank


class AttemptState(OpenEnum):
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    UNCERTAIN = "uncertain"
    UNKNOWN = "unknown"


class PublicationState(OpenEnum):
    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"
    UNCERTAIN = "uncertain"
    SUPERSEDED = "superseded"
    WITHDRAWN = "withdrawn"
    UNKNOWN = "unknown"


class Verified(OpenEnum):
    """How it is known that a publication was delivered: files read back equal, the target's word, or a person's.

    `changed`: the target took it, and serves other bytes than were approved; the receipts say what is left.
    """

    READ_BACK = "read_back"
    ACKNOWLEDGED = "acknowledged"
    CHANGED = "changed"
    STATED = "stated"
    UNKNOWN = "unknown"


class Arrived(OpenEnum):
    """What stands where a target says that it put a file: the `same` bytes, or others.

    Of others: still `signed` by somebody trusted, `invalid` (what was signed was changed), `lost` (a signed file
    without its credentials) or `altered` (one that was never signed). `unread`: it could not be looked at.
    """

    SAME = "same"
    SIGNED = "signed"
    INVALID = "invalid"
    LOST = "lost"
    ALTERED = "altered"
    UNREAD = "unread"
    UNKNOWN = "unknown"


class Stage(OpenEnum):
    INTAKE = "intake"
    PROMPT = "prompt"
    INFERENCE = "inference"
    POSTPROCESS = "postprocess"
    CATALOG = "catalog"
    PUBLISHER = "publisher"
    UNKNOWN = "unknown"


class SourceType(OpenEnum):
    """IPTC digital source type: whether a model, a person's photo with a model, or a plain program made the picture."""

    TRAINED = "trainedAlgorithmicMedia"
    COMPOSITE = "compositeWithTrainedAlgorithmicMedia"
    ALGORITHMIC = "algorithmicMedia"
    UNKNOWN = "unknown"


class SourceRole(OpenEnum):
    """What a source is for: the picture to start from, or which of it is made anew (white) and which stays (black)."""

    REFERENCE = "reference"
    MASK = "mask"
    UNKNOWN = "unknown"


class Pin(Body):
    """One exact document of the library: `digest` is the SHA-256 of its canonical JSON, and its key in the store."""

    name: str
    version: int
    digest: str

    @property
    def label(self) -> str:
        return f"{self.name}@{self.version}"


class File(Body):
    """Bytes in the object store; `width` and `height` in pixels for pictures.

    Signing is not deterministic: `unsigned_sha256` is the hash of a signed file's bytes before it was signed, by which
    the same file made again is known. A file without it is not signed.
    """

    name: str
    media_type: str
    bytes: int
    sha256: str
    key: str
    width: int | None = None
    height: int | None = None
    recipe: str | None = None
    rendition: str | None = None
    unsigned_sha256: str | None = None

    @property
    def is_original(self) -> bool:
        """Whether it is the original as it is published, which is a derivative that no recipe made."""
        return self.rendition == ORIGINAL and self.recipe is None

    @property
    def identity(self) -> str:
        """The hash that the same file made again has too."""
        return self.unsigned_sha256 or self.sha256


class SourceUse(Body):
    """A picture that a job starts from, as it lies in the object store; `width` and `height` in pixels."""

    role: SourceRole
    source_id: UUID
    key: str
    sha256: str
    media_type: str
    width: int
    height: int


class Attempt(Body):
    """One execution on one backend. `cost` is None where it is not known: unknown is never 0.

    `price_list` names the routing table that the cost is from ("default@3"); it is absent where somebody else said it.
    `latency_seconds` is how long the provider's call took, `seconds` the whole attempt, `device_seconds` the part of a
    device of ours that it used.
    """

    attempt_id: UUID
    number: int = 1
    backend: str
    state: AttemptState
    cost: Decimal | None = None
    currency: str = "USD"
    seconds: float | None = None
    provider_request_id: str | None = None
    reason: FailureReason | None = None
    price_list: str | None = None
    latency_seconds: float | None = None
    device_seconds: float | None = None


class Verdict(Body):
    """What one automatic check found: a number against a limit, in one sentence.

    Of one that is not `ok`: `blocking` goes to a person with a warning, `rejecting` is rejected without one. `code` is
    of `shared/contracts/rejection_codes.py`. An `advisory` check errs too often to do either.
    """

    check: str
    ok: bool
    blocking: bool = False
    number: float | None = None
    limit: float | None = None
    unit: str | None = None
    sentence: str
    code: str | None = None
    advisory: bool = False
    rejecting: bool = False


class Measures(Body):
    """What a picture measures: by it a set is compared, and a twin is found. Shares and places are 0..1.

    `colours`: the five that it is made of, "#rrggbb" with their shares, the largest first. `exposure` is of luma: mean,
    5th and 95th percentile. `product_scale` is the product's share of the picture and `centre` its middle, where it is
    known where the product is. `entropy` in bits, `sharpness` 0..1. `fingerprint` is compared with others only.
    """

    colours: list[tuple[str, float]]
    exposure: tuple[float, float, float]
    product_scale: float | None = None
    centre: tuple[float, float] | None = None
    entropy: float
    sharpness: float | None = None
    fingerprint: str


class Brief(Body):
    """What was asked, safe to carry to the end: no prompt, no variables."""

    campaign: str | None = None
    asset_type: str
    template: str
    brand: str
    skus: list[str] = Field(default_factory=list)
    product: str | None = None
    locale: str = "en"
    headline: str | None = None
    channels: list[str] = Field(default_factory=list)
    licence: str | None = None
    batch_id: UUID | None = None
    row_key: str | None = None
    variant: int = 1
    variants: int = 1
    parent_asset_id: UUID | None = Field(default=None, description="The asset that this was asked to be more like")
