"""The least load that moves everything: requests over HTTP, and somebody who approves all."""

import argparse
import asyncio
import contextlib
import json
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx

from tests.live.pipeline import LIBRARY, ask


class Load:
    def __init__(self, world: dict[str, Any], *, requests: int, rate: float) -> None:
        self.world = world
        self.requests = requests
        self.rate = rate
        self.token = ""
        self.accepted = 0
        self.approved = 0
        self.ledger = (Path(world["ledgers"]) / "accepted.jsonl").open("a")

    async def call(self, stage: str, method: str, path: str, *, token: str = "", **how: Any) -> Any:
        while True:
            with contextlib.suppress(httpx.HTTPError):
                headers = {"Authorization": f"Bearer {token or self.token}"} | how.pop("headers", {})
                async with httpx.AsyncClient(timeout=10, trust_env=False) as client:
                    url = f"{self.world['services'][stage]}{path}"
                    answer = await client.request(method, url, headers=headers, **how)
                how["headers"] = headers
                if answer.status_code < 500 and answer.status_code not in {401, 403, 409}:
                    assert answer.is_success, answer.text
                    return answer.json()
            await asyncio.sleep(0.3)

    async def run(self) -> None:
        token = self.world["bootstrap_token"]
        asked = {"name": f"load {uuid4().hex[:6]}", "undo_seconds": 0}
        self.token = (await self.call("intake", "POST", "/v1/workspaces", token=token, json=asked))["token"]
        await self.call("intake", "POST", "/v1/library", json={"documents": LIBRARY})
        reviewer = asyncio.create_task(self.review())
        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for number in range(self.requests):
                await asyncio.sleep(max(0.0, began + number / self.rate - time.monotonic()))
                group.create_task(self.submit(number))
        while self.approved < self.requests and not reviewer.done():
            await asyncio.sleep(0.2)
        reviewer.cancel()

    async def submit(self, number: int) -> None:
        key = f"r{number}"
        made = await self.call("intake", "POST", "/v1/requests", json=ask(key), headers={"Idempotency-Key": key})
        self.ledger.write(json.dumps({"via": "http", "request_id": made["request_id"], "key": key}) + "\n")
        self.ledger.flush()
        self.accepted += 1

    async def review(self) -> None:
        while True:
            page = await self.call("catalog", "GET", "/v1/assets?status=completed&limit=200")
            waiting = [asset for asset in page["assets"] if asset["decision"] is None]
            verdicts = [
                {name: asset[name] for name in ("asset_id", "asset_version", "review_version")}
                | {"decision": "approve"}
                for asset in waiting
            ]
            if verdicts:
                answer = await self.call("catalog", "POST", "/v1/decisions", json={"decisions": verdicts[:100]})
                self.approved += len(answer["decided"])
            await asyncio.sleep(0.5)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("world", type=Path)
    parser.add_argument("--requests", type=int, default=50)
    parser.add_argument("--rate", type=float, default=10.0)
    arguments = parser.parse_args()
    load = Load(json.loads(arguments.world.read_text()), requests=arguments.requests, rate=arguments.rate)
    asyncio.run(load.run())
