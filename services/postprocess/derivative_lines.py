"""What came of making files again, and what is said of a preview, as parts of pages."""

from html import escape

from services.postprocess.previewing import Preview
from services.postprocess.replaying import FileAgain, Replayed
from shared.comparing import Verdict


def lines(found: Replayed | None, *, refused: str = "") -> str:
    """In the place of the button's list; `refused`: why they were not made again."""
    if found is None:
        rows = _row("not made", f'<span class="failed">{escape(refused)}</span>')
    else:
        rows = "".join(_row(_name(file), _told(file)) for file in found.files)
    return f'<dl class="pairs" id="derived" role="status">{rows}</dl>'


def line_of(preview: Preview) -> str:
    """Size, kind and weight as they came out, and what a reviewer would be told."""
    kind = preview.media_type.removeprefix("image/").upper()
    quality = f", quality {preview.quality}" if preview.quality else ""
    said = f"{preview.width} × {preview.height} {kind}{quality}, {_size(len(preview.data))}"
    notes = [verdict.sentence for verdict in preview.verdicts if not verdict.ok]
    return escape(said) + "".join(f'<br><span class="failed">{escape(note)}</span>' for note in notes)


def _row(name: str, told: str) -> str:
    return f"<div><dt>{escape(name)}</dt><dd>{told}</dd></div>"


def _name(file: FileAgain) -> str:
    return f"{file.recipe} {file.rendition}" if file.recipe else file.rendition


def _told(file: FileAgain) -> str:
    mark = "failed" if file.verdict is Verdict.DRIFTED else "approved"
    why = "" if file.verdict is Verdict.EXACT else f" · {escape(file.sentence)}"
    return f'<span class="{mark}">{escape(file.verdict)}</span>{why}'


def _size(count: int) -> str:
    return f"{count / 1000:.0f} kB" if count < 999_500 else f"{count / 1_000_000:.1f} MB"
