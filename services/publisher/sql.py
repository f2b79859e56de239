"""`queries.sql` as functions."""

from pathlib import Path
from typing import Any

import aiosql

queries: Any = aiosql.from_path(Path(__file__).parent / "queries.sql", "asyncpg")
