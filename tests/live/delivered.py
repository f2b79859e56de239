"""What must hold of a campaign once it is over, whatever was killed or away meanwhile: all of it, each part once."""

import hashlib
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Any

import orjson

from shared.postgres import STAGES_WITH_DATABASE
from shared.topics import IMAGE_REQUESTS, JOBS_PROGRESSED, TOPICS
from tests.live.pipeline import FILES_OF_AN_ASSET, Studio

APPROVED = 6  # rank of the status in the catalog's projection
TOLD = [topic.name for topic in TOPICS if topic not in {IMAGE_REQUESTS, JOBS_PROGRESSED}]


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Every event of one workspace on Kafka: id → its type, and id → the bodies it was told with."""

    types: dict[str, str]
    bodies: dict[str, set[bytes]]

    def count(self) -> Counter[str]:
        """Different facts by type."""
        return Counter(self.types.values())


async def facts_of(studio: Studio) -> Facts:
    types: dict[str, str] = {}
    bodies: dict[str, set[bytes]] = defaultdict(set)
    for record in await studio.pipeline.records(TOLD):
        headers = dict(record.headers)
        if headers.get("ce_workspace") == str(studio.workspace).encode():
            event_id = headers["ce_id"].decode()
            types[event_id] = headers["ce_type"].decode().removeprefix("calotype.")
            bodies[event_id].add(record.value)
    return Facts(types=types, bodies=bodies)


async def assert_each_once(studio: Studio, *, requests: int, jobs: int) -> None:
    """All jobs approved and published, each fact told with one meaning and kept once, nothing left under way."""
    facts = await facts_of(studio)
    wanted = {"RequestAccepted": requests, "RequestCompleted": requests}
    wanted |= dict.fromkeys(("PromptAssembled", "ImageGenerated", "ImageProcessed", "ReviewNeeded"), jobs)
    wanted |= dict.fromkeys(("ReviewRecorded", "AssetApproved", "AssetPublished"), jobs)
    counted = facts.count()
    assert {name: counted[name] for name in counted if name not in {"LibraryItemChanged", "WorkspaceChanged"}} == wanted
    assert {event_id: told for event_id, told in facts.bodies.items() if len(told) > 1} == {}
    await _assert_ledger(studio, facts)
    await _assert_states(studio, requests=requests, jobs=jobs)
    await _assert_settled(studio)
    await _assert_files(studio, jobs=jobs)


async def _assert_ledger(studio: Studio, facts: Facts) -> None:
    rows = await studio.pipeline.rows(
        "select event_id::text as id, count(*) as rows from catalog.ledger where workspace = $1 group by 1",
        studio.workspace,
    )
    assert {row["id"]: row["rows"] for row in rows} == dict.fromkeys(facts.types, 1)


async def _assert_states(studio: Studio, *, requests: int, jobs: int) -> None:
    """Every job in one end state, one picture made and charged for each, one publication of each."""

    async def counts(query: str) -> dict[Any, int]:
        return {row[0]: row[1] for row in await studio.pipeline.rows(query, studio.workspace)}

    assert await counts("select rank, count(*) from catalog.jobs where workspace = $1 group by 1") == {APPROVED: jobs}
    ended = await studio.pipeline.count(
        "select count(*) from catalog.requests where workspace = $1 and completed_at is not null", studio.workspace
    )
    assert ended == requests
    attempts = await counts(
        "select job_id, count(*) filter (where state = 'succeeded') from inference.attempts "
        "where workspace = $1 group by 1"
    )
    assert Counter(attempts.values()) == {1: jobs}
    assert not await counts(
        "select attempt_id, 1 from inference.attempts where workspace = $1 and state not in ('succeeded', 'failed')"
    )
    published = await counts(
        "select asset_version_id, count(*) filter (where state = 'delivered') from publisher.publications "
        "where workspace = $1 group by 1"
    )
    assert Counter(published.values()) == {1: jobs}
    usage = await studio.call("GET", "/v1/usage")
    assert (usage["open_jobs"], sum(day["jobs"] for day in usage["days"])) == (0, jobs)


async def _assert_settled(studio: Studio) -> None:
    """Every lease that was ever taken has its end, every fact has left."""
    for stage in STAGES_WITH_DATABASE:
        open_work = await studio.pipeline.rows(
            f"select work_id, kind, holder, outcome, detail from {stage}.work where workspace = $1 "
            "and (finished_at is null or ready_at is not null or holder is not null)",
            studio.workspace,
        )
        assert open_work == [], stage
    assert await studio.pipeline.unsent() == 0


async def _assert_files(studio: Studio, *, jobs: int) -> None:
    """One folder per asset version with exactly its files, each as its receipt says, and nothing half written."""
    published = await studio.delivered()
    places = {place for place in studio.folder.glob("*/*") if place.is_dir()}
    assert len(places) == len(published) == jobs
    for publication in published:
        receipts = {receipt["location"].removeprefix("file://"): receipt for receipt in publication["receipts"]}
        (place,) = {place for place in places if place.as_uri() == publication["location"]}
        assert len(receipts) == FILES_OF_AN_ASSET + 1  # and the sidecar
        assert {str(path) for path in place.iterdir()} == set(receipts)
        for path in place.iterdir():
            data = path.read_bytes()
            told = receipts[str(path)]
            assert (told["bytes"], told["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
            if path.suffix == ".json":
                assert orjson.loads(data)["asset_version_id"] == publication["asset_version_id"]
    assert list(studio.folder.glob(".incoming/*")) == []
