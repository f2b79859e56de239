"""Postgres: pools, who may see which row, and migrations.

One schema and one role per stage. Row-level security is forced on every table with a workspace column: the pipeline's
role sees all rows of its schema, an HTTP transaction only those of its caller's workspace. The policies are made here,
for every such table, so that no migration can forget them.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import asyncpg

from shared.crash import crash_point
from shared.errors import Unavailable

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]
    Pool = asyncpg.Pool[asyncpg.Record]
else:
    Connection = asyncpg.Connection
    Pool = asyncpg.Pool

ROOT = Path(__file__).resolve().parent.parent
STAGES_WITH_DATABASE = ("intake", "inference", "postprocess", "catalog", "publisher")
MIGRATION_LOCK = 0x0CA1_0717  # any number that nobody else takes

# Connection failure, out of resources, operator intervention (shutdown, crash), serialisation or deadlock: all pass.
# So do a server's own input and output errors, and a fail-over that left us at what is now a replica.
PASSING_SQLSTATES = ("08", "53", "57", "40", "58", "25006")
# A half-open connection would keep locks for two hours with the kernel's defaults.
KEEPALIVES = {
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "15000",
}


def role_of(stage: str) -> str:
    return f"calotype_{stage}"


async def open_pool(url: str, *, stage: str, size: int = 6) -> Pool:
    """A pool whose connections act as the stage's role in the stage's schema.

    Raises:
        Unavailable: Postgres does not answer, or refuses the log-in.
    """
    try:
        return await asyncpg.create_pool(
            url,
            min_size=1,
            max_size=size,
            command_timeout=60,
            timeout=10,
            server_settings={
                "role": role_of(stage),
                "search_path": stage,
                "application_name": f"calotype-{stage}",
                **KEEPALIVES,
            },
        )
    except (OSError, TimeoutError, asyncpg.PostgresError) as error:
        raise Unavailable("postgres", error) from error


def is_passing(error: BaseException) -> bool:
    """Whether the failure is Postgres's state of the moment and not what was asked of it."""
    if isinstance(error, asyncpg.PostgresError):
        return (getattr(error, "sqlstate", None) or "").startswith(PASSING_SQLSTATES)
    if isinstance(error, asyncpg.InterfaceError):
        # Also what asyncpg raises for a value it cannot encode or a wrong call: those never pass.
        return "clos" in str(error)
    if isinstance(error, asyncpg.InternalClientError):
        # Where the next statement meets a connection that Postgres has just closed, asyncpg has no better word.
        return "cannot switch to state" in str(error)
    return isinstance(error, (OSError, TimeoutError))


@asynccontextmanager
async def unavailable_when_away() -> AsyncIterator[None]:
    """Translates a passing failure into `Unavailable`; anything else stays what it is."""
    try:
        yield
    except Exception as error:
        if is_passing(error):
            raise Unavailable("postgres", error) from error
        raise


@asynccontextmanager
async def transaction(pool: Pool) -> AsyncIterator[Connection]:
    """A transaction of the pipeline: it sees every workspace."""
    async with unavailable_when_away(), pool.acquire() as connection, connection.transaction():
        yield connection  # type: ignore[misc]  # a pool lends a proxy that is a connection in all but type


@asynccontextmanager
async def noted(running: AbstractAsyncContextManager[Connection]) -> AsyncIterator[Connection]:
    """`running`, for what is written down and no fact tells of: a fault test may end the process on either side."""
    async with running as connection:
        yield connection
        crash_point("note.before")
    crash_point("note.after")


@asynccontextmanager
async def workspace_transaction(pool: Pool, *, stage: str, workspace: UUID) -> AsyncIterator[Connection]:
    """A transaction for one caller: rows of other workspaces do not exist in it."""
    async with transaction(pool) as connection:
        await connection.execute(
            "select set_config('role', $1, true), set_config('calotype.workspace', $2, true)",
            f"{role_of(stage)}_http",
            str(workspace),
        )
        yield connection


async def migrate_all(
    admin_url: str,
    *,
    stages: Sequence[str] = STAGES_WITH_DATABASE,
    passwords: Mapping[str, str] | None = None,
) -> None:
    """Brings every schema up to date, under a lock so that two may try at once.

    `admin_url` may create roles and schemas. With `passwords` (stage → password) each stage's role may log in itself;
    without, the services log in as the admin and step down to their role.
    """
    connection = await asyncpg.connect(admin_url, timeout=30)
    try:
        await connection.execute("select pg_advisory_lock($1)", MIGRATION_LOCK)
        # What waits behind a long transaction makes everybody else wait behind it: better to fail and try again.
        await connection.execute("set lock_timeout to '10s'")
        for stage in stages:
            await _migrate(connection, stage, password=(passwords or {}).get(stage))
    finally:
        await connection.close()


async def _migrate(connection: Any, stage: str, *, password: str | None) -> None:
    from pogo_core.util import migrate  # noqa: PLC0415  # only whoever migrates pays for the import

    role = role_of(stage)
    for name in (role, f"{role}_http"):
        if not await connection.fetchval("select 1 from pg_roles where rolname = $1", name):
            await connection.execute(f'create role "{name}" nologin')
    if password is not None:
        quoted = await connection.fetchval("select quote_literal($1::text)", password)
        await connection.execute(f'alter role "{role}" login password {quoted}')
    await connection.execute(f'grant "{role}_http" to "{role}"')
    if not await connection.fetchval("select pg_has_role(current_user, $1, 'member')", role):
        await connection.execute(f'grant "{role}" to current_user')
    await connection.execute(f'create schema if not exists "{stage}"')
    for folder in (ROOT / "shared/sql/migrations", ROOT / "services" / stage / "migrations"):
        if folder.is_dir():
            await connection.execute(f'set search_path to "{stage}", public')
            await migrate.apply(connection, folder, schema_name=stage, logger=_Quiet())
    await _grant_and_guard(connection, stage, role)
    await connection.execute("reset search_path")


async def _grant_and_guard(connection: Any, stage: str, role: str) -> None:
    for name in (role, f"{role}_http"):
        await connection.execute(f'grant usage on schema "{stage}" to "{name}"')
        await connection.execute(f'grant select, insert, update, delete on all tables in schema "{stage}" to "{name}"')
        await connection.execute(f'grant usage, select on all sequences in schema "{stage}" to "{name}"')
    # A stage makes and drops its partitions itself.
    await connection.execute(f'grant create on schema "{stage}" to "{role}"')
    for row in await connection.fetch(
        """
        select c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where n.nspname = $1 and (c.relkind = 'p' or c.relispartition and c.relkind = 'r')
        """,
        stage,
    ):
        await connection.execute(f'alter table "{stage}"."{row["relname"]}" owner to "{role}"')
    # The outbox holds facts of every workspace and has no policy: a caller's transaction adds to it and reads nothing.
    await connection.execute(f'revoke select, update, delete on "{stage}".outbox from "{role}_http"')
    await connection.execute(f'grant select (id) on "{stage}".outbox to "{role}_http"')
    for name in (role, f"{role}_http"):  # what somebody did stays as it was written
        await connection.execute(f'revoke update, delete on "{stage}".operator_actions from "{name}"')
    guarded = await connection.fetch(
        """
        select c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
        join pg_attribute a on a.attrelid = c.oid and a.attname = 'workspace' and not a.attisdropped
        where n.nspname = $1 and c.relkind in ('r', 'p')
        """,
        stage,
    )
    for row in guarded:
        table = f'"{stage}"."{row["relname"]}"'
        await connection.execute(f"alter table {table} enable row level security, force row level security")
        await connection.execute(f"drop policy if exists pipeline on {table}")
        await connection.execute(f"drop policy if exists caller on {table}")
        await connection.execute(f'create policy pipeline on {table} to "{role}" using (true) with check (true)')
        await connection.execute(
            f'create policy caller on {table} to "{role}_http" '
            "using (workspace = nullif(current_setting('calotype.workspace', true), '')::uuid)"
        )


class _Quiet:
    """pogo logs every migration as a warning; whoever migrates says so once."""

    def __getattr__(self, _: str) -> Any:
        return lambda *_args, **_kwargs: None
