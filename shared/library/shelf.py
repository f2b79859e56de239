"""The documents one workspace can name, and what a reference to one of them means."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

from shared.library.documents import KINDS, AnyDocument, Document

D = TypeVar("D", bound=Document)


class Shelf:
    """Published documents by kind, name and version. Not changed after it was made."""

    def __init__(self, documents: Iterable[AnyDocument] = ()) -> None:
        self._by_kind: dict[str, dict[str, dict[int, AnyDocument]]] = {kind: {} for kind in KINDS}
        for document in documents:
            self._by_kind[document.kind].setdefault(document.name, {})[document.version] = document

    def find(self, kind: type[D], reference: str) -> D | None:
        """`name` is the latest version, `name@3` that one."""
        name, _, version = reference.partition("@")
        versions = self._by_kind[kind_of(kind)].get(name)
        if not versions:
            return None
        found = versions.get(int(version) if version else max(versions))
        return found if isinstance(found, kind) else None

    def references(self, kind: type[Document]) -> list[str]:
        """What can be named: every name, and every version of it."""
        names = self._by_kind[kind_of(kind)]
        return [*names, *(f"{name}@{version}" for name, versions in names.items() for version in sorted(versions))]

    def with_documents(self, documents: Iterable[AnyDocument]) -> "Shelf":
        return Shelf([*self, *documents])

    def __iter__(self) -> Iterator[AnyDocument]:
        for names in self._by_kind.values():
            for versions in names.values():
                yield from versions.values()


def kind_of(kind: type[Document]) -> str:
    return str(kind.model_fields["kind"].default)
