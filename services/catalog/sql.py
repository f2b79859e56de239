"""`queries.sql` as functions, and rows as what `unnest` takes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import aiosql

queries = aiosql.from_path(Path(__file__).parent / "queries.sql", "asyncpg")


def arrays(query: Any, rows: Sequence[Sequence[Any]]) -> dict[str, list[Any]]:
    """Rows as arrays under the names of the query's parameters, whose order is the rows'."""
    return {name: list(column) for name, column in zip(query.parameters, zip(*rows, strict=True), strict=True)}
