"""What a child hands back: the files that it made of one original, and what it found in it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from shared.events import Measures, Verdict
from shared.events.words import ORIGINAL


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """One file a child made; see `recipes.Derivative`. `channel` is None for a review proxy and the original."""

    channel: str | None
    rendition: str
    media_type: str
    width: int
    height: int
    wanted_type: str
    wanted: tuple[int, int]
    exact: bool
    max_bytes: int | None
    manifest: dict[str, Any]
    verdicts: list[Verdict] = field(default_factory=list)
    unsigned_sha256: str | None = None
    data: bytes

    @property
    def is_proxy(self) -> bool:
        return self.channel is None and self.rendition != ORIGINAL


@dataclass(frozen=True, slots=True)
class Development:
    """What became of one original. The first three say what its own bytes say; `unsigned` why nothing was signed."""

    media_type: str
    width: int
    height: int
    made: list[Made]
    versions: dict[str, str]
    checks: Sequence[Verdict] = ()
    measures: Measures | None = None
    unsigned: str | None = None

    @classmethod
    def read(cls, header: Mapping[str, Any], blobs: Sequence[bytes]) -> Self:
        """Of a child's answer: its header as `child.py` writes it, and the bytes of each file."""
        files = [
            Made(
                channel=told["channel"],
                rendition=told["rendition"],
                **told["facts"],
                wanted_type=told["wanted_type"],
                wanted=(told["wanted"][0], told["wanted"][1]),
                exact=told["exact"],
                max_bytes=told["max_bytes"],
                manifest=told["manifest"],
                verdicts=[Verdict.model_validate(verdict) for verdict in told["verdicts"]],
                unsigned_sha256=told["unsigned_sha256"],
                data=data,
            )
            for told, data in zip(header["derivatives"], blobs, strict=True)
        ]
        return cls(
            **header["original"],
            made=files,
            versions=header["versions"],
            checks=[Verdict.model_validate(verdict) for verdict in header["checks"]],
            measures=Measures.model_validate(header["measures"]),
            unsigned=header["unsigned"],
        )
