"""`python -m tests.faults.oracle WORLD_JSON [--json]`: whether what a run left behind keeps every promise.

A program of its own: it imports nothing of the services, and reads what everybody could read (topics from offset 0,
tables, bytes, logs, the ledgers of the counting servers). `--keep FILE` only writes down every row of every service;
`--same-as FILE` also says which of them are not as they were then; `--rebuild` takes away what the catalog derives from
its ledger, and says what is not there again. Exit status 1 where a promise is broken.
"""

import argparse
import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

from tests.faults.oracle.files import lines
from tests.faults.oracle.gathering import gather
from tests.faults.oracle.snapshot import differences, rebuilt, snapshot
from tests.faults.oracle.verdict import judge, summary, text
from tests.faults.oracle.world import World


async def examine(world: World, *, before: Path | None, rebuild: bool) -> dict[str, Any]:
    began = time.monotonic()
    evidence = await gather(world)
    violations = judge(evidence)
    if before is not None:
        after = await snapshot(world)
        violations += differences(json.loads(before.read_text()), after, what="hearing every topic again")
    if rebuild:
        violations += await rebuilt(world, lines(world.ledgers / "workspaces.jsonl"))
    return summary(evidence, violations) | {"seconds": round(time.monotonic() - began, 1)}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.oracle", description=__doc__)
    parser.add_argument("world", type=Path)
    parser.add_argument("--json", action="store_true", help="the result as JSON")
    parser.add_argument("--keep", type=Path, metavar="FILE", help="write down every row, and do nothing else")
    parser.add_argument("--same-as", type=Path, metavar="FILE", help="nothing may be otherwise than it was then")
    parser.add_argument("--rebuild", action="store_true", help="have the catalog built again, of a world to throw away")
    arguments = parser.parse_args()
    world = World.read(arguments.world)
    if arguments.keep is not None:
        arguments.keep.write_text(json.dumps(asyncio.run(snapshot(world))))
        return 0
    told = asyncio.run(examine(world, before=arguments.same_as, rebuild=arguments.rebuild))
    print(json.dumps(told, default=str) if arguments.json else text(told))  # noqa: T201
    return 1 if told["violations"] else 0


if __name__ == "__main__":
    sys.exit(main())
