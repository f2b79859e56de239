"""`python -m tests.faults.oracle WORLD_JSON [--json]`: whether what a run left behind keeps every promise.

A program of its own: it imports nothing of the services, and reads what everybody could read (topics from offset 0,
tables, bytes, logs, the ledgers of the counting servers). Exit status 1 where a promise is broken.
"""

import argparse
import asyncio
import json
import sys
import time
from pathlib import Path

from tests.faults.oracle.gathering import gather
from tests.faults.oracle.verdict import judge, summary, text
from tests.faults.oracle.world import World


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.oracle", description=__doc__)
    parser.add_argument("world", type=Path)
    parser.add_argument("--json", action="store_true", help="the result as JSON")
    arguments = parser.parse_args()
    began = time.monotonic()
    evidence = asyncio.run(gather(World.read(arguments.world)))
    told = summary(evidence, judge(evidence)) | {"seconds": round(time.monotonic() - began, 1)}
    print(json.dumps(told, default=str) if arguments.json else text(told))  # noqa: T201
    return 1 if told["violations"] else 0


if __name__ == "__main__":
    sys.exit(main())
