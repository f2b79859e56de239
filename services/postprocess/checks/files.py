"""Checks of files: what was written against what was asked. Pure; no pixels needed here.

A check that fails is told file by file. One that passes is told once, with the file that came nearest to its limit, so
that a reviewer reads five lines and not fifty.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from services.postprocess.names import NAME
from shared.events import Verdict

CHECKS = frozenset({"dimensions", "bytes", "format", "naming", "metadata"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One file as it turned out (`media_type`, `width`, `height`, `bytes`) and as it should be.

    `label` is what a person calls it: `email/hero`. With `exact` the wanted size is promised, else it is a bound.
    """

    label: str
    name: str
    media_type: str
    width: int
    height: int
    bytes: int
    wanted_type: str
    wanted: tuple[int, int]
    exact: bool = True
    max_bytes: int | None = None


def check(
    files: Iterable[Subject], *, alt_text: str | None, caption: str | None, blocking: frozenset[str] = frozenset()
) -> list[Verdict]:
    """All verdicts on one asset version; `blocking` are the checks its rubric stops at."""
    seen = list(files)
    groups = (
        [dimensions(file) for file in seen],
        [weight(file) for file in seen if file.max_bytes is not None],
        [media_type(file) for file in seen],
        list(naming(seen)),
        list(metadata(alt_text=alt_text, caption=caption)),
    )
    told = [verdict for group in groups for verdict in _told(group)]
    return [verdict.model_copy(update={"blocking": True}) if verdict.check in blocking else verdict for verdict in told]


def dimensions(file: Subject) -> Verdict:
    """Exactly the promised size, or within the bound and as large as it allows."""
    width, height = file.wanted
    reached = max(file.width / width, file.height / height)
    ok = (file.width, file.height) == file.wanted if file.exact else reached == 1
    asked = f"{width} × {height}" if file.exact else f"up to {width} × {height}"
    short = "" if ok else "; the original is too small" if reached < 1 else "; it has another shape"
    return Verdict(
        check="dimensions",
        ok=ok,
        number=max(file.width, file.height),
        limit=max(file.wanted),
        unit="px",
        sentence=f"{file.label} is {file.width} × {file.height}, asked {asked}{short}.",
    )


def weight(file: Subject) -> Verdict:
    """At most as many bytes as its channel allows."""
    limit = file.max_bytes or 0
    ok = file.bytes <= limit
    remedy = "" if ok else " even at the lowest quality"
    return Verdict(
        check="bytes",
        ok=ok,
        number=file.bytes,
        limit=limit,
        unit="bytes",
        sentence=f"{file.label} takes {_kilobytes(file.bytes)} of {_kilobytes(limit)} allowed{remedy}.",
    )


def media_type(file: Subject) -> Verdict:
    """The bytes are of the type that was asked for, whatever the name says."""
    ok = file.media_type == file.wanted_type
    asked = "as asked" if ok else f"asked {file.wanted_type}"
    return Verdict(check="format", ok=ok, sentence=f"{file.label} is {file.media_type}, {asked}.")


def naming(files: list[Subject]) -> Iterator[Verdict]:
    """Safe on every file system and in every address, and no two files alike."""
    names = [file.name for file in files]
    for file in files:
        safe, alone = NAME.fullmatch(file.name) is not None and len(file.name) <= 255, names.count(file.name) == 1
        fault = "" if safe and alone else ", which is not safe everywhere" if alone else ", and so is another"
        yield Verdict(
            check="naming",
            ok=safe and alone,
            number=len(file.name),
            limit=255,
            unit="characters",
            sentence=f"{file.label} is called {file.name}{fault}.",
        )


def metadata(*, alt_text: str | None, caption: str | None) -> Iterator[Verdict]:
    """What a page needs beside the picture: words for those who cannot see it, and a line under it."""
    found = {"alt text": alt_text, "caption": caption}
    missing = [what for what, text in found.items() if not (text or "").strip()]
    stands = "Alt text and caption are there" if not missing else f"There is no {' and no '.join(missing)}"
    yield Verdict(check="metadata", ok=not missing, number=len(missing), limit=0, unit="missing", sentence=f"{stands}.")


def _told(verdicts: list[Verdict]) -> list[Verdict]:
    failed = [verdict for verdict in verdicts if not verdict.ok]
    return failed or [max(verdicts, key=_nearness)] if verdicts else []


def _nearness(verdict: Verdict) -> float:
    return (verdict.number or 0) / verdict.limit if verdict.limit else 0.0


def _kilobytes(count: int) -> str:
    return f"{count / 1000:,.0f} kB" if count >= 10_000 else f"{count / 1000:.1f} kB"
