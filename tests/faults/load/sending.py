"""The three ways in: each asks until it is answered, and writes down what was promised."""

import asyncio
import contextlib
import json
import random
from collections.abc import Sequence
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from tests.faults.load.ledgers import Ledgers
from tests.faults.load.people import Person
from tests.faults.load.plan import Ask, Row, Sheet, table
from tests.faults.oracle import ids
from tests.faults.oracle.world import World

TOPIC = "image-requests.v1"
ACKNOWLEDGED_WITHIN = 20.0  # seconds; an idempotent producer gives nothing up by itself


class Http:
    """`POST /v1/requests` with an Idempotency-Key, the same until it is answered."""

    def __init__(self, ledgers: Ledgers) -> None:
        self._ledgers = ledgers

    async def send(self, ask: Ask, person: Person) -> None:
        headers = {"Idempotency-Key": ask.key} | ({"traceparent": ask.traceparent} if ask.traceparent else {})
        answers = [await self._post(person, ask.body, headers) for _ in range(1 + ask.again)]
        wanted = 422 if ask.is_wrong else 202
        for answer in answers:
            if answer.status_code != wanted:
                self._complain(ask, person, wanted, answer)
        if ask.is_wrong or answers[0].status_code != 202:
            return
        told = answers[0].json()
        self._ledgers.write(
            "accepted",
            via="http",
            workspace=person.workspace,
            principal=person.principal,
            request_id=told["request_id"],
            jobs=told["jobs"],
            variants=ask.body["variants"],
            pictures=list(ask.sha256),
            key=ask.key,
            traceparent=ask.traceparent,
            fails=ask.fails,
            compared=ask.is_compared,
            expects="accepted",
        )
        for answer in answers[1:]:
            again = answer.json()
            if (again.get("request_id"), again.get("jobs")) != (told["request_id"], told["jobs"]):
                self._complain(ask, person, told, answer)
        if ask.clash:
            other = ask.body | {"variables": {"headline": "another", "mood": "another"}}
            answer = await self._post(person, other, headers)
            if answer.status_code != 422 or "idempotency_key_reused" not in answer.text:
                self._complain(ask, person, "422 idempotency_key_reused", answer)

    async def _post(self, person: Person, body: dict[str, Any], headers: dict[str, str]) -> Any:
        while True:
            answer = await person.call("POST", "/v1/requests", json=body, headers=headers)
            if answer.status_code != 409:  # an earlier try of ours is being taken in this moment
                return answer
            await asyncio.sleep(random.uniform(0.05, 0.3))

    def _complain(self, ask: Ask, person: Person, wanted: object, answer: Any) -> None:
        self._ledgers.write(
            "complaints",
            what="an answer over HTTP",
            workspace=person.workspace,
            key=ask.key,
            wanted=wanted,
            got=f"{answer.status_code} {answer.text[:500]}",
        )


class Kafka:
    """Straight to the broker, past whatever stands between it and the services."""

    def __init__(self, world: World, ledgers: Ledgers) -> None:
        self._world = world
        self._ledgers = ledgers
        self._producer: AIOKafkaProducer | None = None
        self._opening = asyncio.Lock()

    async def send(self, ask: Ask, person: Person) -> None:
        """Acknowledged, as often as planned; the copies under keys of their own, so on any partition."""
        for copy in range(1 + ask.again):
            key = ask.key if copy == 0 else f"{ask.key}/{copy}"
            await self.deliver(self._world.prefix + TOPIC, key.encode(), *_message(ask, person.workspace))
        self._ledgers.write(
            "accepted",
            via="kafka",
            workspace=person.workspace,
            request_id=None,
            variants=ask.body["variants"],
            pictures=list(ask.sha256),
            source=ask.source,
            ce_id=ask.key,
            traceparent=ask.traceparent,
            fails=ask.fails,
            compared=ask.is_compared,
            expects="rejected" if ask.is_wrong else "accepted",
        )

    async def deliver(
        self,
        topic: str,
        key: bytes | None,
        headers: list[tuple[str, bytes]],
        body: bytes,
        *,
        partition: int | None = None,
    ) -> Any:
        """Until it is acknowledged; where it then stands."""
        while True:
            producer: AIOKafkaProducer | None = None
            try:
                producer = await self._current()
                async with asyncio.timeout(ACKNOWLEDGED_WITHIN):
                    return await producer.send_and_wait(
                        topic, value=body, key=key, headers=headers, partition=partition
                    )
            except (KafkaError, TimeoutError, OSError):
                await self._renew(producer)
                await asyncio.sleep(random.uniform(0.1, 1))

    async def close(self) -> None:
        await self._renew(self._producer)

    async def _current(self) -> AIOKafkaProducer:
        async with self._opening:
            if self._producer is None:
                producer = AIOKafkaProducer(
                    bootstrap_servers=self._world.kafka, acks="all", enable_idempotence=True, linger_ms=2
                )
                try:
                    await producer.start()
                except BaseException:
                    await _close(producer)
                    raise
                self._producer = producer
            return self._producer

    async def _renew(self, producer: AIOKafkaProducer | None) -> None:
        if producer is not None and self._producer is producer:
            self._producer = None
            await _close(producer)


async def _close(producer: AIOKafkaProducer) -> None:
    with contextlib.suppress(Exception):
        async with asyncio.timeout(2):
            await producer.stop()
            return
    # What it still holds was never acknowledged, and is asked for again under its id.
    for close in (producer._sender.close, producer.client.close):
        with contextlib.suppress(Exception):
            async with asyncio.timeout(2):
                await close()


def _message(ask: Ask, workspace: str) -> tuple[list[tuple[str, bytes]], bytes]:
    attributes = {
        "specversion": "1.0",
        "id": ask.key,
        "source": ask.source,
        "type": "calotype.ImageRequested",
        "workspace": workspace,
    }
    if ask.structured:
        envelope = attributes | {"datacontenttype": "application/json", "data": ask.body}
        if ask.traceparent:
            envelope["traceparent"] = ask.traceparent
        return [("content-type", b"application/cloudevents+json")], json.dumps(envelope).encode()
    headers = [(f"ce_{name}", value.encode()) for name, value in attributes.items()]
    headers.append(("content-type", b"application/json"))
    if ask.traceparent:
        headers += [(name, ask.traceparent.encode()) for name in ("traceparent", "ce_traceparent")]
    return headers, json.dumps(ask.body).encode()


class Files:
    """`POST /v1/batches`: one file after another for the same batch."""

    def __init__(self, ledgers: Ledgers) -> None:
        self._ledgers = ledgers
        self._promised: set[tuple[str, str, str]] = set()

    async def send(self, sheet: Sheet, person: Person) -> str | None:
        """The id of the batch; none where a file was refused, which is in the ledger then."""
        batch_ids = [await self._upload(sheet, file, person) for file in sheet.files]
        return batch_ids[-1]

    async def _upload(self, sheet: Sheet, file: Sequence[Row], person: Person) -> str | None:
        headers = {"Content-Type": "text/csv"} | ({"traceparent": sheet.traceparent} if sheet.traceparent else {})
        while True:
            how: dict[str, Any] = {"params": {"name": sheet.name}, "content": table(file), "headers": headers}
            answer = await person.call("POST", "/v1/batches", **how)
            if answer.status_code != 409:  # the file before it, or an earlier try of this one, is still being read
                break
            await asyncio.sleep(random.uniform(0.2, 0.6))
        if answer.status_code != 202:
            self._ledgers.write(
                "complaints",
                what="an answer to a file",
                workspace=person.workspace,
                key=sheet.name,
                wanted=202,
                got=f"{answer.status_code} {answer.text[:500]}",
            )
            return None
        for row in file:
            request = ids.request_of_row(person.workspace, sheet.name, row.key, row.ask)
            if row.is_wrong or (person.workspace, sheet.name, request) in self._promised:
                continue
            self._promised.add((person.workspace, sheet.name, request))
            self._ledgers.write(
                "accepted",
                via="batch",
                workspace=person.workspace,
                principal=person.principal,
                request_id=None,
                variants=row.body["variants"],
                batch=sheet.name,
                key=row.key,
                ask=row.ask,
                fails=row.fails,
                compared=row.is_compared,
                expects="accepted",
            )
        batch_id: str = answer.json()["batch_id"]
        return batch_id
