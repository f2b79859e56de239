"""What one workspace's key shows of another's ids, asked over HTTP."""

import random
import re
from collections.abc import Mapping, Sequence

import httpx

from tests.faults.oracle.evidence import Evidence, Reached, Row
from tests.faults.oracle.world import World

SAMPLE = 5  # of each kind of id, of those that are asked for by name
UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")
NOBODY = "00000000-0000-4000-8000-000000000000"
LISTS = (
    "/v1/assets?limit=500",
    "/v1/jobs?limit=500",
    "/v1/publications?limit=200",
    "/v1/dead-letters?limit=500",
    "/v1/batches?limit=200",
    "/v1/replays?limit=200",
    "/v1/uncertain?limit=200",
    "/v1/keys?limit=200",
    "/v1/sources?limit=200",
)


async def reach(world: World, evidence: Evidence, workspaces: Sequence[Row]) -> list[Reached]:
    """Each workspace of the load asks for what the others have."""
    found: list[Reached] = []
    every = {row["workspace"]: ids_of(evidence, row["workspace"]) for row in workspaces}
    async with httpx.AsyncClient(timeout=30, trust_env=False) as client:
        for asking in workspaces:
            headers = {"Authorization": f"Bearer {asking['token']}"}
            others = [row["workspace"] for row in workspaces if row["workspace"] != asking["workspace"]]
            for workspace in others:
                for method, path, body in questions(some_of(every[workspace], seed=workspace)):
                    answer = await client.request(method, world.address(path), headers=headers, json=body)
                    found.append(Reached(path=f"{method} {path}", status=answer.status_code))
            theirs = {*others}.union(*(ids for workspace in others for ids in every[workspace].values()))
            for path in LISTS:
                answer = await client.get(world.address(path), headers=headers)
                shown = not theirs.isdisjoint(UUID.findall(answer.text))
                found.append(Reached(path=f"GET {path}", status=answer.status_code, shown=shown))
    return found


def some_of(every: Mapping[str, set[str]], *, seed: str) -> dict[str, list[str]]:
    """A few of each kind."""
    rng = random.Random(seed)
    return {kind: rng.sample(sorted(ids), min(SAMPLE, len(ids))) for kind, ids in every.items()}


def ids_of(evidence: Evidence, workspace: str) -> dict[str, set[str]]:
    """Kind → ids that belong to the workspace."""
    columns = {
        "request": ("intake.requests", "request_id"),
        "job": ("catalog.jobs", "job_id"),
        "asset": ("catalog.assets", "asset_id"),
        "publication": ("publisher.publications", "publication_id"),
        "decision": ("catalog.decisions", "decision_id"),
        "batch": ("intake.requests", "batch_id"),
        "letter": ("catalog.dead_letters", "dead_letter_id"),
        "replay": ("inference.replays", "replay_id"),
    }
    return {
        kind: {row[column] for row in evidence.table(table) if row["workspace"] == workspace and row[column]}
        for kind, (table, column) in columns.items()
    }


def questions(ids: Mapping[str, Sequence[str]]) -> list[tuple[str, str, dict[str, object] | None]]:
    """Every way to ask for one of them by name; the writing ones would change something, were they let through."""
    paths = {
        "request": ["GET /v1/requests/{}", "POST /v1/requests/{}/cancel", "GET /v1/trace/{}"],
        "job": ["GET /v1/jobs/{}", "GET /v1/trace/{}", "GET /v1/why/{}"],
        "asset": ["GET /v1/assets/{}", "GET /v1/trace/{}"],
        "publication": ["GET /v1/publications/{}", "POST /v1/publications/{}/retry", "GET /v1/trace/{}"],
        "decision": ["POST /v1/decisions/{}/undo"],
        "batch": ["GET /v1/batches/{}", "GET /v1/batches/{}/rows", "GET /v1/batches/{}/errors.csv"],
        "letter": ["GET /v1/dead-letters/{}"],
        "replay": ["GET /v1/replays/{}", "POST /v1/replays/{}/cancel"],
    }
    asked: list[tuple[str, str, dict[str, object] | None]] = []
    for kind, forms in paths.items():
        for form in forms:
            method, _, path = form.partition(" ")
            body: dict[str, object] | None = {} if path.endswith("cancel") else None
            asked += [(method, path.format(one), body) for one in ids[kind]]
    verdict = {"asset_version": NOBODY, "review_version": 0, "decision": "approve"}
    asked += [("POST", f"/v1/assets/{one}/decisions", dict(verdict)) for one in ids["asset"]]
    return asked
