"""`python -m tests.faults.load WORLD_JSON --requests N --seed S`: asks, decides, cancels, poisons, cleans up."""

import argparse
import asyncio
import json
import sys
from pathlib import Path

from tests.faults.load.load import Load
from tests.faults.oracle.world import World
from tests.faults.quiet import until_quiet


async def run(arguments: argparse.Namespace) -> int:
    world = World.read(arguments.world)
    async with Load(
        world,
        requests=arguments.requests,
        seed=arguments.seed,
        rate=arguments.rate,
        poison=arguments.poison,
        pictures=arguments.until_told,
        replays=arguments.until_told,
    ) as load:
        await load.run()
        if arguments.until_told:
            print("asked", flush=True)  # noqa: T201
            await asyncio.to_thread(sys.stdin.readline)
        await until_quiet(world, within=arguments.within)
        janitor = await load.clear(within=arguments.within)
        moving = await until_quiet(world, within=arguments.within)
    told = {"sent": load.sent, "replayed": janitor.replayed, "dropped": janitor.dropped, "moving": moving}
    print(json.dumps(told))  # noqa: T201
    return 1 if moving else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.load", description=__doc__)
    parser.add_argument("world", type=Path)
    parser.add_argument("--requests", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=float, help="requests a second; without it as fast as they are answered")
    parser.add_argument("--poison", type=int, help="records of poison; without it a fortieth of the requests")
    parser.add_argument("--until-told", action="store_true", help="clean up only after a line on standard input")
    parser.add_argument("--within", type=float, default=300, help="seconds that everything may take to come to rest")
    return asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
