"""The next version of Calotype, as far as compatibility goes: this code, with one field more in its events."""

import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FIELD = "fixture_of_the_next_version"
# Event → its file; one of each kind of edge.
GROWN = {
    "RequestAccepted": "intake",
    "PromptAssembled": "prompt",
    "ImageGenerated": "inference",
    "PublicAsset": "catalog",
}


def fixture_tree(folder: Path) -> Path:
    """Makes it unless it is there; returns what goes on the path before this tree."""
    if folder.is_dir():
        return folder
    partial = folder.with_name(f"{folder.name}.new")
    for name in ("services", "shared"):
        shutil.copytree(ROOT / name, partial / name, ignore=shutil.ignore_patterns("__pycache__"))
    for event, module in GROWN.items():
        path = partial / "shared" / "events" / f"{module}.py"
        path.write_text(with_a_field_more(path.read_text(), event))
    partial.rename(folder)
    return folder


def with_a_field_more(source: str, event: str) -> str:
    """The module's source, in which the event has a field that nobody else knows, with a default as the rules ask.

    Raises:
        ValueError: there is no such event in it.
    """
    head, found, rest = source.partition(f"class {event}(")
    if not found:
        raise ValueError(f"{event} is not here")
    declared, found, rest = rest.partition("    SOURCE: ClassVar[str]")
    if not found:
        raise ValueError(f"{event} has no SOURCE line to stand before")
    return f"{head}class {event}({declared}    {FIELD}: str = {'known to the next version'!r}\n{found}{rest}"
