"""What operations may take beside the picture: words, colours and pictures that the brand and the request give."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID

from services.postprocess.hooks import NO_MODELS, Models
from services.postprocess.pictures import Picture


@dataclass(frozen=True, slots=True, kw_only=True)
class Equipment:
    """What the installation gives, the same for every picture.

    `mark_key` writes the invisible mark; `fonts` is the folder of the operator's own.
    """

    mark_key: bytes | None = field(default=None, repr=False)
    models: Models = NO_MODELS
    fonts: str | None = None


NO_EQUIPMENT = Equipment()


@dataclass(frozen=True, slots=True, kw_only=True)
class Materials:
    """What the request, its brand and the installation give.

    `texts`: the request's own words (headline, product); `palette`: the brand's colours as #RRGGBB; `marks`: its logo
    and badges, see-through where they are not; `absent` says of one that is not here ("mark/NAME") why. `asset` is the
    id of what the picture becomes.
    """

    texts: Mapping[str, str] = field(default_factory=dict)
    locale: str = "en"
    palette: Mapping[str, str] = field(default_factory=dict)
    marks: Mapping[str, Picture] = field(default_factory=dict)
    absent: Mapping[str, str] = field(default_factory=dict)
    asset: UUID | None = None
    equipment: Equipment = NO_EQUIPMENT

    @property
    def market(self) -> str | None:
        """The region of the locale: AE of ar-AE; None where it names none."""
        parts = self.locale.replace("_", "-").split("-")[1:]
        return next((part.upper() for part in parts if len(part) == 2 or part.isdigit()), None)


NO_MATERIALS = Materials()
