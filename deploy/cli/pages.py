"""What commands over many things share: page after page of an answer, and the table of what was refused."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from rich.table import Table

from deploy.cli.client import Client


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
    """One line a reason, with the thing's `id` where it is one, else how `many`."""
    reasons = Counter((one["why"], one["remedy"]) for one in refused)
    named = {(one["why"], one["remedy"]): one[id] for one in refused}
    table = Table("not", "why", "instead", box=None, header_style="dim", padding=(0, 2, 0, 0))
    for (why, remedy), count in reasons.most_common():
        table.add_row(named[why, remedy] if count == 1 else f"{count} {many}", why, remedy)
    return table
