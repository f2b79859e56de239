"""The documents of the library, one model per kind; unknown fields are refused, so a typo is found at `lint`.

A document is pinned by the SHA-256 of its canonical JSON and stored under that digest. References between documents
are `name` (latest published at acceptance) or `name@version`.
"""

import hashlib
from datetime import date
from decimal import Decimal
from functools import cache
from typing import Annotated, Any, ClassVar, Literal

import orjson
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    TypeAdapter,
    model_serializer,
    model_validator,
)

from shared.events import Confidentiality, Lane, Pin

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,79}$")]
Reference = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,79}(@[0-9]{1,6})?$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Hex = Annotated[str, Field(pattern=r"^#[0-9A-Fa-f]{6}$")]
Fraction = Annotated[float, Field(ge=0, le=1)]
Scalar = str | int | float | bool


class Part(BaseModel):
    """A piece of a document. `ADDED` names fields that came after the first release of its kind.

    They are not written while they hold their defaults: a document that does not use them keeps its bytes, and so the
    digest under which it is pinned everywhere.
    """

    ADDED: ClassVar[frozenset[str]] = frozenset()

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_serializer(mode="wrap")
    def _without_unused_additions(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        written: dict[str, Any] = write(self)
        for name, default in _defaults_of_added(type(self)):
            if getattr(self, name) == default:
                written.pop(name, None)
        return written


@cache  # pydantic reads the signature of a default's factory anew each time it is asked
def _defaults_of_added(part: type[Part]) -> tuple[tuple[str, Any], ...]:
    fields = part.model_fields
    return tuple((name, fields[name].get_default(call_default_factory=True)) for name in sorted(part.ADDED))


class Document(Part):
    """What every kind has; `version` counts up from 1 and never changes its content."""

    name: Name
    version: int = Field(ge=1, lt=10**6)
    owner: str = Field(min_length=1, max_length=120)
    description: str = ""

    @property
    def label(self) -> str:
        return f"{self.name}@{self.version}"

    def canonical(self) -> bytes:
        """The bytes that are hashed and stored: sorted keys, no spaces, defaults written out."""
        return orjson.dumps(self.model_dump(mode="json"), option=orjson.OPT_SORT_KEYS)

    def pin(self) -> Pin:
        return Pin(name=self.name, version=self.version, digest=hashlib.sha256(self.canonical()).hexdigest())


class BrandProduct(Part):
    """One line of the product catalogue. `photo`: the SHA-256 of an approved photograph of it, added as a source."""

    sku: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    name: str
    form: str = "carton"
    finish: str | None = None
    tint: str | None = None
    label: dict[str, str] = Field(default_factory=dict)
    confidentiality: Confidentiality = Confidentiality.PUBLIC
    attributes: dict[str, str] = Field(default_factory=dict)
    photo: Sha256 | None = None

    ADDED: ClassVar[frozenset[str]] = frozenset({"photo"})


class Brand(Document):
    """Constraints that hold for every picture of the brand."""

    kind: Literal["brand"] = "brand"
    title: str
    palette: dict[str, Hex] = Field(default_factory=dict)
    style: list[str] = Field(default_factory=list)
    composition: list[str] = Field(default_factory=list)
    lighting: list[str] = Field(default_factory=list)
    background: list[str] = Field(default_factory=list)
    prohibited: list[str] = Field(default_factory=list, description="Goes into every negative prompt")
    caption: str | None = Field(default=None, description="Jinja template of the caption")
    licence: str | None = None
    products: list[BrandProduct] = Field(default_factory=list)
    marks: dict[Name, Sha256] = Field(
        default_factory=dict, description="Logo and badges: the SHA-256 of each, added as a source"
    )

    ADDED: ClassVar[frozenset[str]] = frozenset({"marks"})


class Variable(Part):
    """One typed input of a template."""

    type: Literal["text", "choice", "integer", "number", "boolean"] = "text"
    values: list[str] = Field(default_factory=list, description="Allowed values of a choice")
    required: bool = False
    default: Scalar | None = None
    minimum: float | None = None
    maximum: float | None = None
    max_length: int = Field(default=400, ge=1, le=4000)
    description: str = ""

    @model_validator(mode="after")
    def _a_choice_has_values(self) -> "Variable":
        if self.type == "choice" and not self.values:
            raise ValueError("a choice needs `values`")
        if self.default is not None and self.values and self.default not in self.values:
            raise ValueError(f"default {self.default!r} is not one of the values")
        return self


class Lora(Part):
    """An addition to a model's weights, by the name that backends know it by; of weight 0 it is as if not there."""

    name: Name
    weight: float = Field(default=1.0, ge=-10, le=10)


class LockedParameters(Part):
    """What a requester cannot change; pixels, denoising steps, guidance scale."""

    width: int = Field(default=1024, ge=64, le=4096)
    height: int = Field(default=1024, ge=64, le=4096)
    steps: int = Field(default=20, ge=1, le=200)
    guidance: float = Field(default=7.0, ge=0, le=50)
    scheduler: str = "default"
    model: str | None = None
    loras: list[Lora] = Field(default_factory=list, max_length=8, description="Each once, in any order")

    ADDED: ClassVar[frozenset[str]] = frozenset({"loras"})


class Template(Document):
    """How a request becomes a prompt. Strings are Jinja2, rendered in a sandbox; user text is data, never source."""

    kind: Literal["template"] = "template"
    brand: Reference
    policy: Reference
    variables: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")], Variable] = Field(default_factory=dict)
    components: dict[str, str] = Field(default_factory=dict, description="Named pieces the prompt may include")
    prompt: str = Field(min_length=1, max_length=8000)
    negative_prompt: str = Field(default="", max_length=4000)
    parameters: LockedParameters = LockedParameters()
    layout: Literal["tile", "lifestyle", "hero"] = "tile"
    aspect: str = "1:1"
    scene: dict[str, Any] = Field(
        default_factory=dict, description="What the proof renderer is told; string values are Jinja2"
    )
    alt_text: str = Field(default="", max_length=1000)
    caption: str = Field(default="", max_length=1000)


class Rule(Part):
    """Words that may not stand in the rendered, normalised prompt (or headline)."""

    id: Name
    terms: list[str] = Field(min_length=1)
    why: str
    remedy: str


class Policy(Document):
    kind: Literal["policy"] = "policy"
    rules: list[Rule] = Field(default_factory=list)


class Operation(Part):
    """One step of a rendition; parameters by name, checked by the operation itself.

    `markets` are regions as in the request's locale (AE of ar-AE): elsewhere the step is left out.
    """

    op: Name
    params: dict[str, Any] = Field(default_factory=dict)
    markets: list[Annotated[str, Field(pattern=r"^([A-Z]{2}|[0-9]{3})$")]] = Field(default_factory=list)

    ADDED: ClassVar[frozenset[str]] = frozenset({"markets"})


class Rendition(Part):
    """One file of a recipe: operations in order, then how it is written."""

    name: Name
    width: int = Field(ge=1, le=8192)
    height: int = Field(ge=1, le=8192)
    operations: list[Operation] = Field(default_factory=list)
    format: Literal["jpeg", "png", "webp", "avif"] = "jpeg"
    quality: int = Field(default=82, ge=1, le=100)
    max_bytes: int | None = Field(default=None, ge=256)
    safe_area: tuple[Fraction, Fraction, Fraction, Fraction] | None = Field(
        default=None,
        description="Left, top, right, bottom as fractions: overlays keep inside, for the channel covers the rest",
    )

    optional: bool = Field(default=False, description="Left out where the original is smaller than it both ways")

    ADDED: ClassVar[frozenset[str]] = frozenset({"safe_area", "optional"})


class Recipe(Document):
    """What a channel asks for; `source` says where its limits were published."""

    kind: Literal["recipe"] = "recipe"
    channel: Name
    renditions: list[Rendition]
    source: str | None = None


class RubricLine(Part):
    id: Name
    text: str


class Rubric(Document):
    """What a reviewer looks at. What fails one of `blocking_checks` goes to a person with a warning."""

    kind: Literal["rubric"] = "rubric"
    lines: list[RubricLine] = Field(default_factory=list, max_length=9)
    blocking_checks: list[str] = Field(default_factory=list)
    rejecting_checks: list[str] = Field(
        default_factory=list, description="What fails one of these is rejected, and waits for nobody"
    )
    limits: dict[str, Annotated[float, Field(allow_inf_nan=False)]] = Field(
        default_factory=dict, description="By check, in its unit; none: the check's own"
    )

    ADDED: ClassVar[frozenset[str]] = frozenset({"rejecting_checks", "limits"})


class Call(Part):
    """How a provider is called. `provider` names an address and a key in inference's environment.

    Neither stands here: whoever may publish a table could send the key to an address of their own.
    """

    provider: Name
    timeout_seconds: float = Field(default=180.0, ge=1, le=900, description="Then the outcome is uncertain")
    sizes: list[Annotated[str, Field(pattern=r"^[1-9][0-9]{1,4}x[1-9][0-9]{1,4}$")]] = Field(
        default_factory=list, description="What it makes, as 1024x1024; none: any size"
    )
    takes: list[Literal["seed", "negative_prompt", "steps", "guidance"]] = Field(
        default_factory=list, description="Parameters it takes beyond OpenAI's: vLLM-Omni and SGLang take all four"
    )
    quality: Name | None = Field(default=None, description="What it is asked for, and priced by; none: its own choice")

    ADDED: ClassVar[frozenset[str]] = frozenset({"quality"})


class Rate(Part):
    """How often somebody may be called: so often a minute on average, and `burst` at once after a pause."""

    per_minute: float = Field(gt=0, le=1e6)
    burst: int = Field(default=1, ge=1, le=10_000)


class Price(Part):
    """One line of a backend's price list: what an image of this size and quality costs; a blank matches any."""

    width: int | None = Field(default=None, ge=1, le=65536)
    height: int | None = Field(default=None, ge=1, le=65536)
    quality: Name | None = None
    price: Decimal = Field(ge=0)


class Backend(Part):
    """One place images can be made; `visibility` private means the work never leaves our machines."""

    name: Name
    kind: Literal["proof", "diffusion", "openai", "stability", "replicate", "bedrock", "null"]
    visibility: Literal["private", "cloud"]
    pool: Literal["dedicated", "standard"] = "standard"
    enabled: bool = True
    model: str | None = None
    capabilities: list[str] = Field(default_factory=lambda: ["text-to-image"])
    max_width: int = 4096
    max_height: int = 4096
    price: Decimal | None = Field(default=None, description="List price of one image; unknown is never 0")
    currency: str = "USD"
    concurrency: int = Field(
        default=1,
        ge=1,
        le=256,
        description="Calls at once, of all workers together; for the kinds that call a provider",
    )
    region: str | None = None
    end_of_life: date | None = None
    url: str | None = None
    call: Call | None = Field(default=None, description="For the kinds that call a provider")
    ceiling: Confidentiality | None = Field(default=None, description="The most confidential work it may be given")
    prices: list[Price] = Field(
        default_factory=list, description="By size and quality, the first that matches; none does: `price`"
    )
    available_from: date | None = Field(default=None, description="Its first day, as `end_of_life` is its last (UTC)")
    version: str | None = Field(
        default=None, min_length=1, max_length=120, description="What the provider calls this version of the model"
    )
    rate: Rate | None = Field(
        default=None, description="How often, of all workers together; none: as often as they can"
    )
    loras: list[Name] = Field(default_factory=list, description="Those it has, for the model it runs")

    ADDED: ClassVar[frozenset[str]] = frozenset(
        {"call", "ceiling", "prices", "available_from", "version", "rate", "loras"}
    )

    def price_of(self, width: int, height: int) -> Decimal | None:
        """List price of one image of that size in pixels; None where nobody knows it, which is not 0."""
        quality = self.call.quality if self.call else None
        for line in self.prices:
            if line.width in (None, width) and line.height in (None, height) and line.quality in (None, quality):
                return line.price
        return self.price

    @property
    def is_free(self) -> bool:
        """An operator's word that no image of it costs anything. An unknown price is no such word."""
        return all(price == 0 for price in (self.price, *(line.price for line in self.prices)))


class Canary(Part):
    """A share of a rule's jobs that goes to another backend first; a job stays on its side, whoever asks again."""

    backend: Name
    percent: int = Field(ge=1, le=100)


class RouteRule(Part):
    """One line of the table; the first that matches names its candidates in order of preference."""

    id: Name
    confidentiality: list[Confidentiality] = Field(default_factory=list, description="Empty matches any")
    priority: list[Literal["low", "normal", "high"]] = Field(default_factory=list)
    bulk: bool | None = Field(default=None, description="True matches only jobs of a batch")
    lane: Lane
    backends: list[Name] = Field(min_length=1)
    regions: list[str] = Field(default_factory=list, description="Where its backends must stand; empty: anywhere")
    canary: Canary | None = None

    ADDED: ClassVar[frozenset[str]] = frozenset({"regions", "canary"})

    @property
    def candidates(self) -> list[str]:
        """Every backend that it may send a job to, in order of preference."""
        first = [self.canary.backend] if self.canary else []
        return list(dict.fromkeys([*first, *self.backends]))


class Routes(Document):
    """Which work goes where. Current, not pinned; fails closed when nothing matches."""

    kind: Literal["routes"] = "routes"
    backends: list[Backend]
    rules: list[RouteRule]

    @model_validator(mode="after")
    def _rules_name_backends_of_the_table(self) -> "Routes":
        known = {backend.name for backend in self.backends}
        for rule in self.rules:
            if missing := set(rule.candidates) - known:
                raise ValueError(f"rule {rule.id!r} names unknown backends: {', '.join(sorted(missing))}")
        return self


class TargetDocument(Document):
    """One place to publish to; secrets come from the publisher's own environment, never from here."""

    ADDED: ClassVar[frozenset[str]] = frozenset({"require_provenance"})

    kind: Literal["target"] = "target"
    type: Literal["folder", "webhook", "s3", "wordpress", "directus", "webdav"]
    ceiling: Confidentiality = Confidentiality.PUBLIC
    demo: bool = Field(default=False, description="Only such targets take proofs")
    require_provenance: bool = Field(default=False, description="Takes signed files only (Content Credentials)")
    enabled: bool = True
    settings: dict[str, Any] = Field(default_factory=dict)


class AssetType(Part):
    """What a campaign makes of one asset type."""

    template: Reference
    recipes: dict[Name, Reference] = Field(description="Channel → recipe")
    rubric: Reference


class Campaign(Document):
    kind: Literal["campaign"] = "campaign"
    title: str
    brand: Reference
    brief: str = ""
    asset_types: dict[Name, AssetType]


AnyDocument = Annotated[
    Brand | Template | Policy | Recipe | Rubric | Routes | TargetDocument | Campaign, Field(discriminator="kind")
]
DOCUMENT: TypeAdapter[AnyDocument] = TypeAdapter(AnyDocument)
KINDS = ("brand", "template", "policy", "recipe", "rubric", "routes", "target", "campaign")
MODELS: dict[str, type[AnyDocument]] = {
    "brand": Brand,
    "template": Template,
    "policy": Policy,
    "recipe": Recipe,
    "rubric": Rubric,
    "routes": Routes,
    "target": TargetDocument,
    "campaign": Campaign,
}
CURRENT_KINDS = frozenset({"routes", "target"})
