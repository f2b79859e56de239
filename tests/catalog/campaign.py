"""The Salt & Linden campaign as the pages see it: twelve requests, 36 jobs, all in memory."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID, uuid5

from services.catalog.web import view
from services.catalog.web.view import Mark

NAMES = UUID("00000000-0000-4000-8000-000000000000")
BATCH = uuid5(NAMES, "batch")
VIEWER = view.Viewer(
    name="Ada Wren",
    workspace_id=uuid5(NAMES, "workspace"),
    workspace="Salt & Linden",
    csrf="a-token-of-the-session",
)
CODES = (
    view.RejectionCode(key="off_palette", words="off palette"),
    view.RejectionCode(key="wrong_product", words="wrong product"),
    view.RejectionCode(key="label_wrong", words="label wrong or illegible"),
    view.RejectionCode(key="light_wrong", words="light is not the brand's"),
    view.RejectionCode(key="no_room", words="no room for the headline"),
    view.RejectionCode(key="artefact", words="artefact"),
    view.RejectionCode(key="not_selected", words="not selected"),
)
RUBRIC = (
    view.RubricLine(key="product_matches", words="Product matches reference"),
    view.RubricLine(key="label_legible", words="Label legible and correct"),
    view.RubricLine(key="brand_light", words="Light as the brand asks"),
    view.RubricLine(key="headline_room", words="Room for the headline"),
)
SIZES = {"product tile": (1024, 1024), "lifestyle": (1280, 1024), "email hero": (1280, 640)}
WINTER, GIFTS, TEA = "Winter home", "Gift sets", "Linden tea launch"
PROMPT = (
    "A Salt Marsh candle on a bone plinth before a brine wall, one round bone disc behind it, window light from the "
    "left, linden leaves and two pebbles, room for a headline at the right; still life, matte, quiet."
)


class Row(NamedTuple):
    sku: str
    product: str
    form: str
    asset_type: str
    wall: str
    accent: str
    campaign: str
    headline: str
    locale: str = "en"
    confidentiality: str = "public"

    @property
    def size(self) -> tuple[int, int]:
        return SIZES[self.asset_type]

    @property
    def name(self) -> str:
        return f"{self.product}, {self.asset_type}"


ROWS = (
    Row("SL-OIL-100", "Body Oil", "amber bottle", "product tile", "bone", "blush", WINTER, "Slow evenings"),
    Row("SL-OIL-100", "Body Oil", "amber bottle", "lifestyle", "linden", "saffron", WINTER, "After the bath"),
    Row("SL-CND-220", "Salt Marsh", "candle", "lifestyle", "brine", "bone", WINTER, "One candle lit"),
    Row("SL-CND-220", "Salt Marsh", "candle", "product tile", "fog", "brine", WINTER, "Salt Marsh, 45 h", "de"),
    Row("SL-WSH-300", "Hand Wash", "pump", "product tile", "blush", "clay", GIFTS, "For the basin"),
    Row("SL-WSH-300", "Hand Wash", "pump", "email hero", "bone", "clay", GIFTS, "Two for the basin"),
    Row("SL-TEA-080", "Linden Tea", "tin", "product tile", "saffron", "bone", TEA, "وقت الشاي", "ar"),
    Row("SL-TEA-080", "Linden Tea", "tin", "lifestyle", "linden", "bone", TEA, "冬のお茶", "ja"),
    Row("SL-DIF-120", "First Frost", "diffuser", "lifestyle", "brine", "fog", WINTER, "Frost", "en", "confidential"),
    Row("SL-SCR-200", "Sea Scrub", "jar", "product tile", "fog", "linden", GIFTS, "Salt and sea"),
    Row("SL-SOP-090", "Soap", "boxed soap", "product tile", "clay", "blush", GIFTS, "A quiet bar"),
    Row("SL-MUG-350", "Mug", "mug", "email hero", "brine", "saffron", WINTER, "Both hands round it"),
)


def now() -> datetime:
    return datetime.now(UTC)


@dataclass(slots=True, kw_only=True)
class Piece:
    """One asset under review, as little of it as decisions change."""

    row: int
    variant: int
    state: Mark = Mark.COMPLETED
    version: int = 0
    decision: view.Decision | None = None
    met: frozenset[str] = frozenset()
    missing: str | None = None
    apart: tuple[str, ...] = ()

    @property
    def asked(self) -> Row:
        return ROWS[self.row]

    @property
    def request_id(self) -> UUID:
        return uuid5(NAMES, f"request {self.row}")

    @property
    def job_id(self) -> UUID:
        return uuid5(self.request_id, f"job {self.variant}")

    @property
    def asset_id(self) -> UUID:
        return uuid5(self.job_id, "asset")

    @property
    def version_id(self) -> UUID:
        return uuid5(self.asset_id, "version")

    @property
    def picture(self) -> view.Picture | None:
        if self.missing:
            return None
        base = f"/pictures/{self.row}/{self.variant}"
        width, height = self.asked.size
        return view.Picture(
            url=f"{base}/1024.jpg",
            thumb=f"{base}/320.jpg",
            large=f"{base}/2048.jpg",
            width=width,
            height=height,
            alt=f"{self.asked.product} before a {self.asked.wall} wall",
            focal=(0.55, 0.6),
        )

    @property
    def frame(self) -> view.Frame:
        picture = self.picture
        width, height = self.asked.size
        return view.Frame(
            asset_id=self.asset_id,
            name=self.asked.name,
            label=f"{self.variant} of 3",
            state=self.state,
            thumb=picture.thumb if picture else None,
            url=picture.url if picture else None,
            width=width,
            height=height,
            by=self.decision.by if self.decision else None,
        )


def all_pieces() -> list[Piece]:
    return [Piece(row=row, variant=variant) for row in range(len(ROWS)) for variant in (1, 2, 3)]


def big_batch() -> view.Batch:
    """1,500 jobs in every state, half way through."""
    late = "acacaxcaacafcaaxcaaacaaacxaaacaaaacaxaaac"
    squares = "".join("aaxaacaafaaaxaacaaaa"[i * 7 % 20] for i in range(800))
    squares += "".join(late[i * 3 % len(late)] for i in range(120))
    squares += "".join("wwwrwwwwcw"[i * 3 % 10] for i in range(80)) + "p" * 490 + "n" * 10
    words = {letter: mark for mark, letter in view.SQUARES.items()}
    return view.Batch(
        batch_id=BATCH,
        name="winter-home.csv",
        total=len(squares),
        counts={words[letter]: squares.count(letter) for letter in words if letter in squares},
        squares=squares,
        refused_rows=3,
    )
