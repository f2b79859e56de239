"""I9: the state of every service, row by row, so that two moments can be compared.

Hearing every topic again changes no row. A projection that was built anew from its ledger differs in nothing but when
and in which order its rows were written.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import asyncpg
import httpx

from tests.faults.oracle.evidence import Row, Violation
from tests.faults.oracle.world import World

STAGES = ("intake", "inference", "postprocess", "catalog", "publisher")
# Notes for a moment, who is there and how fast, what is still to be sent, and what people did: no state of anything.
# Whoever waits for calm has stopped consumers go on, and reading poison again may stop one.
PASSING = frozenset({"outbox", "progress", "pace", "feed", "operator_actions", "claimers", "paces", "unclaimed"})
PROJECTION = tuple(
    f"catalog.{name}"
    for name in ("requests", "jobs", "failures", "attempts", "assets", "files", "publications", "awaiting_review")
)
WRITTEN = frozenset({"seq", "recorded_at", "created_at", "completed_at"})
TABLES = """
select n.nspname || '.' || c.relname as name, array_agg(a.attname::text order by a.attnum) as columns,
       array_agg(a.attname::text order by a.attnum) filter (where a.attnum = any(i.indkey::int2[])) as key
from pg_class c
join pg_namespace n on n.oid = c.relnamespace
join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
left join pg_index i on i.indrelid = c.oid and i.indisprimary
where n.nspname = any($1) and c.relkind in ('r', 'p') and not c.relispartition and c.relname <> all($2)
group by 1
"""
Rows = dict[str, str]
Snapshot = dict[str, Rows]
"""Table → key of a row → hash of all of it."""


async def snapshot(world: World) -> Snapshot:
    """Every table of every service."""
    return await _rows(world, without=frozenset())


async def projection(world: World) -> Snapshot:
    """What the catalog shows, without what a second building may write otherwise."""
    found = await _rows(world, without=WRITTEN)
    return {name: found[name] for name in PROJECTION}


async def _rows(world: World, *, without: frozenset[str]) -> Snapshot:
    connection = await asyncpg.connect(world.database_url, timeout=30)
    try:
        found: Snapshot = {}
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            for table in await connection.fetch(TABLES, list(STAGES), list(PASSING)):
                columns = [name for name in table["columns"] if name not in without]
                rows = await connection.fetch(_query(table["name"], columns, table["key"] or columns))
                found[table["name"]] = {row["key"]: row["hash"] for row in rows}
        return found
    finally:
        await connection.close()


def _query(table: str, columns: list[str], key: list[str]) -> str:
    return f"select row({', '.join(key)})::text as key, md5(row({', '.join(columns)})::text) as hash from {table}"


async def rebuilt(world: World, people: Sequence[Row]) -> list[Violation]:
    """Takes everything away that the catalog derives of these people's workspaces, and has it built again.

    For a world at rest, that nobody needs any more.
    """
    before = await projection(world)
    connection = await asyncpg.connect(world.database_url, timeout=30)
    try:
        async with connection.transaction():
            for table in PROJECTION:
                workspaces = [person["workspace"] for person in people]
                await connection.execute(f"delete from {table} where workspace = any($1::uuid[])", workspaces)
    finally:
        await connection.close()
    for person in people:
        await _build(world, person)
    return list(differences(before, await projection(world), what="building the catalog from its ledger"))


async def _build(world: World, person: Row) -> None:
    path = "/v1/stages/catalog/rebuild"
    headers = {"Authorization": f"Bearer {person['token']}"}
    async with httpx.AsyncClient(timeout=120, trust_env=False, headers=headers) as client:
        after: Any = None
        while True:
            answer = await client.post(world.address(path), json={"check": False, "after": after})
            after = answer.raise_for_status().json()["next"]
            if after is None:
                return


def differences(before: Mapping[str, Rows], after: Mapping[str, Rows], *, what: str) -> Iterator[Violation]:
    """Rows that are gone, new or other; `what` was done between the two."""
    for table in sorted(before.keys() | after.keys()):
        old, new = before.get(table, {}), after.get(table, {})
        for key in old.keys() - new.keys():
            yield Violation(invariant="I9", subject=f"{table}{key}", what=f"is gone after {what}", kind="lost")
        for key in new.keys() - old.keys():
            yield Violation(invariant="I9", subject=f"{table}{key}", what=f"is new after {what}", kind="doubled")
        for key in old.keys() & new.keys():
            if old[key] != new[key]:
                yield Violation(invariant="I9", subject=f"{table}{key}", what=f"is another after {what}")
