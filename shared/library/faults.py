"""What is found in a document: where, what, and what to do."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from shared.events import Problem
from shared.library.documents import AnyDocument, Document
from shared.library.problems import Loc, place, suggest
from shared.library.shelf import Shelf


@dataclass(frozen=True, slots=True)
class Fault:
    """One finding in one document; a warning (`error` False) does not keep it from being published."""

    document: AnyDocument
    loc: Loc
    problem: Problem
    error: bool = True


def fault(document: AnyDocument, loc: Loc, code: str, what: str, remedy: str, *, error: bool = True) -> Fault:
    return Fault(document, loc, Problem(code=code, what=what, where=place(loc), remedy=remedy), error)


def unknown(document: AnyDocument, loc: Loc, kind: type[Document], reference: str, shelf: Shelf) -> Iterator[Fault]:
    if shelf.find(kind, reference) is None:
        what = f"there is no {kind.__name__.lower()} {reference!r}"
        yield fault(document, loc, "unknown_reference", what, suggest(reference, shelf.references(kind)))


def twice(document: AnyDocument, loc: Loc, names: Iterable[str]) -> Iterator[Fault]:
    for name, count in Counter(names).items():
        if count > 1:
            yield fault(document, loc, "doubled", f"{name!r} stands {count} times", "keep one of them")
