"""The oracle of the fault harness, asked about a pipeline that something was done to."""

import asyncio
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deploy.local.supervisor import STAGES
from tests.faults.oracle.world import World
from tests.live.pipeline import Studio
from tests.live.stage import PARTITIONS

ROOT = Path(__file__).parents[2]


async def assert_the_oracle_finds_nothing(
    studio: Studio, accepted: Mapping[str, Mapping[str, Any]], *, into: Path, variants: int = 1
) -> None:
    """`accepted`: idempotency key → what was first answered to it; `into`: an empty folder for what is examined.

    Ends, ids, lineage, bytes, quota, dead letters and books are examined. There is one workspace, so nobody else can
    reach into it, and nothing is replayed here: the fault harness does that.
    """
    pipeline = studio.pipeline
    world = World(
        database_url=pipeline.database_url,
        kafka=pipeline.servers.kafka_bootstrap,
        prefix=pipeline.prefix,
        partitions=PARTITIONS,
        blobs={"folder": str(pipeline.data.blobs)},
        published=pipeline.data.published,
        logs=pipeline.data.root / "logs",
        ledgers=into,
        services=dict.fromkeys(STAGES, pipeline.supervisor.url),
        bootstrap_token=pipeline.data.secret("bootstrap_token"),
        secrets=(pipeline.data.secret("bootstrap_token"),),
    )
    about = {"workspace": str(studio.workspace), "principal": "admin"}
    write_lines(into / "workspaces.jsonl", [about | {"token": studio.token}])
    asked = {"via": "http", "traceparent": None, "expects": "accepted"} | about
    told = [asked | {"key": key, "variants": variants, **answer} for key, answer in accepted.items()]
    write_lines(into / "accepted.jsonl", told)
    world.write(into / "world.json")
    command = [sys.executable, "-m", "tests.faults.oracle", str(into / "world.json"), "--json"]
    oracle = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
    said, _ = await oracle.communicate()
    found = json.loads(said)
    assert (found["requests"], found["lines"]) == (len(accepted), []), found["examples"]


def write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
