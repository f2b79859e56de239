"""The projection made again from the ledger: compared, and mended where it differs, while the catalog goes on.

A page of lives at a time (a request with all its jobs is one): their facts are folded by the same code and the same SQL
into temporary tables of the same names, which come first in a session's search path, and compared with what stands in
the real ones, in one snapshot. So no page needs more memory or longer locks than its own facts, a rebuild may be broken
off and taken up again anywhere, and there is no moment at which people see half a projection.

Derived, and so made again: what `TABLES` lists; of `decisions` those that checks made. Not derived from the ledger, and
left as it is: people's decisions and `awaiting_review` (what they do, under its own locks), `dead_letters`, `feed` and
`progress` (never facts), `pace` (counts of the last half hour). Rows of which the ledger knows nothing are counted and
left alone.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import aiosql
import asyncpg
import orjson

from services.catalog.domain import ENDED
from services.catalog.feed import Feed
from services.catalog.ledger.facts import Fact, gather
from services.catalog.ledger.writing import Writing
from shared import ids
from shared.errors import Rejected
from shared.outbox import Transaction
from shared.postgres import KEEPALIVES, Connection, role_of, unavailable_when_away

queries = aiosql.from_path(Path(__file__).parent / "rebuilding.sql", "asyncpg")

NIL = UUID(int=0)
PAGE = 200  # lives; a request has at most a hundred jobs of some five facts each
TOLD = 100  # differences that one answer names


# Whose rows of a page are looked at: $1 its jobs, $2 their requests; each way has an index, however long the history.
OF_JOBS = "job_id = any($1::uuid[]) and $2::uuid[] is not null"
OF_REQUESTS = "request_id = any($2::uuid[]) and $1::uuid[] is not null"
OF_FILES = "file_id in (select file_id from pg_temp.files) and ($1::uuid[], $2::uuid[]) is not null"
OF_ASSETS = "asset_id in (select asset_id from pg_temp.assets) and ($1::uuid[], $2::uuid[]) is not null"
OF_CHECKS = """
    asset_id in (select asset_id from pg_temp.assets) and principal like 'check:%'
    and ($1::uuid[], $2::uuid[]) is not null
"""
OF_BOTH = "request_id = any($2::uuid[]) and job_id = any($1::uuid[])"


@dataclass(frozen=True, slots=True)
class Table:
    """A derived table: its key, which rows belong to a page, and columns that no fact says."""

    name: str
    key: tuple[str, ...]
    of: str
    own: tuple[str, ...] = ()


TABLES = (
    # `seq` is the order of arrival; of `completed_at` only whether it is set follows from the facts.
    Table("requests", ("request_id",), of=OF_REQUESTS, own=("seq", "completed_at")),
    Table("jobs", ("job_id",), of=OF_JOBS),
    Table("failures", ("job_id", "run"), of=OF_JOBS, own=("seq",)),
    Table("attempts", ("job_id", "attempt_id"), of=OF_JOBS),
    Table("assets", ("asset_id", "asset_version_id"), of=OF_BOTH, own=("seq",)),
    # Found by their own ids alone: of files, one too many is not looked for.
    Table("files", ("file_id",), of=OF_FILES),
    Table("publications", ("publication_id",), of=OF_BOTH),
    Table("measures", ("asset_id", "asset_version_id"), of=OF_ASSETS),
    Table("decisions", ("decision_id",), of=OF_CHECKS),
)
FOLDED_INTO = (*(table.name for table in TABLES), "awaiting_review", "progress")


@dataclass(slots=True)
class Report:
    """What a rebuild found: rows made from the facts and rows that differ, by table, and the first of these by name."""

    requests: int = 0
    jobs: int = 0
    facts: int = 0
    without_facts: int = 0
    rows: dict[str, int] = field(default_factory=lambda: dict.fromkeys((t.name for t in TABLES), 0))
    differing: dict[str, int] = field(default_factory=lambda: dict.fromkeys((t.name for t in TABLES), 0))
    differences: list[dict[str, Any]] = field(default_factory=list)
    next: UUID | None = None


@asynccontextmanager
async def session(url: str) -> AsyncIterator[Connection]:
    """A connection of its own with the temporary tables, which end with it and are never seen by another.

    Raises:
        Rejected: the stage's role may not make temporary tables.
        Unavailable: Postgres is away.
    """
    settings = {
        "role": role_of("catalog"),
        "search_path": "catalog",
        "application_name": "calotype-catalog-rebuild",
        **KEEPALIVES,
    }
    async with unavailable_when_away():
        connection: Connection = await asyncpg.connect(url, timeout=10, command_timeout=120, server_settings=settings)
    try:
        for name in FOLDED_INTO:
            like = f"create temporary table {name} (like catalog.{name} including all) on commit delete rows"
            await connection.execute(like)
        yield connection
    except asyncpg.InsufficientPrivilegeError as error:
        what = f"the role {role_of('catalog')} may not make temporary tables"
        raise Rejected("not_configured", what, str(error), "grant temporary on the database to it") from error
    finally:
        await connection.close(timeout=5)


async def rebuild(
    connection: Connection, feed: Feed, *, workspace: UUID | None, after: UUID | None, pages: int, mend: bool
) -> Report:
    """Goes through so many pages of lives from `after` on; `next` says where to go on, None at the end."""
    report = Report(next=after)
    async with unavailable_when_away():
        for _ in range(pages):
            lives = [r async for r in queries.lives(connection, workspace=workspace, after=report.next, many=PAGE)]
            if lives:
                await _page(connection, feed, lives, report, mend=mend)
            report.next = lives[-1]["about"] if len(lives) == PAGE else None
            if report.next is None:
                report.without_facts = await _without_facts(connection, workspace)
                return report
    return report


async def _without_facts(connection: Connection, workspace: UUID | None) -> int:
    found, after = 0, NIL
    while True:
        rows = queries.without_facts(connection, workspace=workspace, after=after, many=PAGE)
        page = [row["job_id"] async for row in rows]
        found += len(page)
        if len(page) < PAGE:
            return found
        after = page[-1]


async def _page(
    connection: Connection, feed: Feed, lives: Sequence[Mapping[str, Any]], report: Report, *, mend: bool
) -> None:
    # Mending waits for writers and reads what they committed; comparing needs one moment, and waits for nobody.
    async with connection.transaction(isolation="read_committed" if mend else "repeatable_read"):
        requests, jobs, alone = await _whole(connection, lives)
        if not requests and not jobs:
            return
        if mend:
            _ = [row async for row in queries.hold_jobs(connection, jobs=jobs)]
        facts = [_fact(row) async for row in queries.facts(connection, abouts=[*requests, *jobs])]
        batch = gather(facts)
        writing = Writing(Transaction(connection), feed)
        await writing.project(batch)
        await writing.project_assets(batch)
        await queries.complete(connection, ended=ENDED)
        report.requests += len(requests)
        report.jobs += len(jobs)
        report.facts += len(batch.facts)
        for table in TABLES:
            whose = requests if table.name == "requests" else [*requests, *alone]
            await _compare(connection, table, (jobs, whose), report, mend=mend)


async def _whole(
    connection: Connection, lives: Sequence[Mapping[str, Any]]
) -> tuple[list[UUID], list[UUID], list[UUID]]:
    """Requests that are among these, with all their jobs; and jobs whose request was not heard of, with its id."""
    asked = list({life["request_id"] for life in lives if life["request_id"]})
    accepted = {r["request_id"]: r["variants"] async for r in queries.accepted(connection, requests=asked)}
    here = {life["about"] for life in lives} & accepted.keys()
    jobs = [ids.job_id(request, variant) for request in here for variant in range(1, accepted[request] + 1)]
    unheard = {
        life["about"]: life["request_id"]
        for life in lives
        if life["request_id"] and life["about"] != life["request_id"] and life["request_id"] not in accepted
    }
    return list(here), [*jobs, *unheard], list(set(unheard.values()))


def _fact(row: Mapping[str, Any]) -> Fact:
    return Fact(row["type"], orjson.loads(row["body"]), row["occurred_at"], row["traceparent"], row["body"])


async def _compare(
    connection: Connection, table: Table, page: tuple[Sequence[UUID], Sequence[UUID]], report: Report, *, mend: bool
) -> None:
    columns = await _columns(connection, table)
    said = [name for name in columns if name not in table.own]
    key = ", ".join(table.key)
    statement = f"""
        with l as (select * from catalog.{table.name} where {table.of})
        select {", ".join(f"coalesce(l.{name}, s.{name}) as {name}" for name in table.key)},
               case when l.{table.key[0]} is null then null else to_jsonb(l) end as stands,
               case when s.{table.key[0]} is null then null else to_jsonb(s) end as follows
        from l full join pg_temp.{table.name} s using ({key})
        where (l.{table.key[0]} is null or s.{table.key[0]} is null
            or {_differs(table, said)}) and not ({AHEAD.get(table.name, "false")})
        order by {key}
    """  # noqa: S608  # names of our own tables and columns, none of anybody's words
    rows = await connection.fetch(statement, *page)
    report.rows[table.name] += int(await connection.fetchval(f"select count(*) from pg_temp.{table.name}"))  # noqa: S608
    report.differing[table.name] += len(rows)
    for row in rows[: max(0, TOLD - len(report.differences))]:
        report.differences.append(_difference(table, row))
    if mend and rows:
        await _mend(connection, table, page, columns, said)


# A job in flight may be ahead of the ledger by what only its progress told, which is no fact.
AHEAD = {
    "jobs": "l.job_id is not null and s.job_id is not null and l.run = s.run and l.rank <= 1 and s.rank <= 1"
    " and (l.rank, l.step) >= (s.rank, s.step) and l.variant is not distinct from s.variant"
}


def _differs(table: Table, said: Sequence[str]) -> str:
    unlike = " or ".join(f"l.{name} is distinct from s.{name}" for name in said if name not in table.key)
    if "completed_at" in table.own:
        unlike += " or (l.completed_at is null) <> (s.completed_at is null)"
    return unlike


def _difference(table: Table, row: asyncpg.Record) -> dict[str, Any]:
    """The key, and of the columns only those that differ."""
    stands, follows = (orjson.loads(row[name]) if row[name] else None for name in ("stands", "follows"))
    if stands and follows:
        unlike = [n for n in stands if stands[n] != follows[n] and n != "seq"]
        stands, follows = ({name: side[name] for name in unlike} for side in (stands, follows))
    key = {name: row[name] for name in table.key}
    return {"table": table.name, "key": key, "stands": stands, "follows": follows}


async def _columns(connection: Connection, table: Table) -> list[str]:
    rows = await connection.fetch(
        "select attname from pg_attribute where attrelid = $1::regclass and attnum > 0 and not attisdropped",
        f"catalog.{table.name}",
    )
    return [row["attname"] for row in rows]


async def _mend(
    connection: Connection,
    table: Table,
    page: tuple[Sequence[UUID], Sequence[UUID]],
    columns: Sequence[str],
    said: Sequence[str],
) -> None:
    """Puts what follows from the facts in the place of what stands: rows are taken away, changed and added."""
    same = " and ".join(f"l.{name} = s.{name}" for name in table.key)
    changes = [f"{name} = s.{name}" for name in said if name not in table.key]
    added = list(said)
    if "completed_at" in columns:
        changes.append(
            "completed_at = case when s.completed_at is not null then coalesce(l.completed_at, s.completed_at) end"
        )
        added.append("completed_at")
    ahead = AHEAD.get(table.name, "false")
    names = ", ".join(added)
    follows = f"pg_temp.{table.name} s"
    # Names of our own tables and columns, none of anybody's words.
    ours = f"select {', '.join(table.key)} from catalog.{table.name} where {table.of}"  # noqa: S608
    of_page = " and ".join(f"l.{name} = o.{name}" for name in table.key)
    gone = (
        f"delete from catalog.{table.name} l using ({ours}) o "  # noqa: S608
        f"where {of_page} and not exists (select from {follows} where {same})"
    )
    changed = (
        f"update catalog.{table.name} l set {', '.join(changes)} from {follows} "  # noqa: S608
        f"where {same} and ({_differs(table, said)}) and not ({ahead})"
    )
    new = (
        f"insert into catalog.{table.name} ({names}) select {names} from {follows} "  # noqa: S608
        "on conflict do nothing"
    )
    await connection.execute(gone, *page)
    await connection.execute(changed)
    await connection.execute(new)
