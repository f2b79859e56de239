"""Every `calotype` command that a message, a page or a guide tells somebody to type is one that there is."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from deploy.cli import VERBS, _load

ROOT = Path(__file__).parents[2]
FOLDERS = ("services", "shared", "deploy", "docs")
# In backquotes or not; up to the end of what is quoted, of the line, or to the comment beside it.
TYPED = re.compile(r"(`?)\bcalotype ([a-z]+(?:-[a-z]+)*)(?: ([a-z]+(?:-[a-z]+)*))?([^`\"\n#]*)")


class Named(NamedTuple):
    place: str
    verb: str
    word: str
    options: frozenset[str]
    quoted: bool


def named() -> Iterator[Named]:
    paths = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*")]
    for path in [ROOT / "README.md", *paths]:
        if path.suffix in {".py", ".md", ".html", ".yaml"}:
            for number, line in enumerate(path.read_text().splitlines(), 1):
                for quote, verb, word, rest in TYPED.findall(line):
                    options = frozenset(re.findall(r"(?<= )--[a-z-]+", rest)) - {"--help"}
                    yield Named(f"{path.relative_to(ROOT)}:{number}", verb, word, options, bool(quote))


@cache
def command(verb: str, word: str) -> Any:
    """None where the verb has commands of its own, and this word is none of them."""
    found = _load(verb)
    return found.commands.get(word) if hasattr(found, "commands") else found


def takes(found: Any) -> set[str]:
    return {option for parameter in found.params for option in (*parameter.opts, *parameter.secondary_opts)}


def test_every_command_that_somebody_is_told_to_type_exists_with_its_options() -> None:
    wrong = []
    for each in named():
        if each.verb not in VERBS:
            if each.quoted:
                wrong.append(f"{each.place}: there is no calotype {each.verb}")
            continue
        found = command(each.verb, each.word)
        if found is None and (each.options or (each.quoted and each.word)):
            wrong.append(f"{each.place}: there is no calotype {each.verb} {each.word}")
        elif found is not None and (unknown := each.options - takes(found)):
            wrong.append(f"{each.place}: calotype {each.verb} {each.word} takes no {', '.join(sorted(unknown))}")
    assert not wrong
