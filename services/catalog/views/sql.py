"""What pages ask beyond `services/catalog/queries.sql`, as functions."""

from pathlib import Path

import aiosql

queries = aiosql.from_path(Path(__file__).parent / "queries.sql", "asyncpg")
