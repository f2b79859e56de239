"""What commands over many things share: page after page of an answer, and the table of what was refused."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from rich.table import Table

from deploy.cli.client import Client

NAMED = 3  # of as many as are refused alike


def pages(
    client: Client, path: str, asked: Mapping[str, Any], *, size: int, limit: int | None
) -> Iterator[dict[str, Any]]:
    """Answer after answer of so many things each, until the last one or the limit."""
    after: int | None = 0
    left = limit
    while after is not None and left != 0:
        many = size if left is None else min(size, left)
        page: dict[str, Any] = client.post(path, {**asked, "limit": many, "after": after})
        yield page
        after = page["next"]
        left = None if left is None else left - many


def refusals(refused: list[dict[str, str]], *, id: str, many: str) -> Table:
    """One line a reason, with the thing's `id` where it is one, else how `many` and which come first."""
    alike: dict[tuple[str, ...], list[dict[str, str]]] = defaultdict(list)
    for one in refused:
        # Of many, "calotype trace ASSET" is one remedy.
        any_id = id.removesuffix("_id").upper()
        alike[tuple(one[field].replace(one[id], any_id) for field in ("why", "remedy"))].append(one)
    table = Table("not", "why", "instead", box=None, header_style="dim", padding=(0, 2, 0, 0))
    for words, some in sorted(alike.items(), key=lambda kind: -len(kind[1])):
        if len(some) == 1:
            table.add_row(some[0][id], some[0]["why"], some[0]["remedy"])
        else:
            first = [one[id] for one in some[:NAMED]]
            table.add_row("\n".join([f"{len(some)} {many}", *first, *["…"][: len(some) - len(first)]]), *words)
    return table
