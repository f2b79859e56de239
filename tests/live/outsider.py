"""An upstream system and a DAM in one, written by strangers: the official CloudEvents SDK, plain aiokafka, httpx.

Imports nothing of ours, and says at its end what it did import. Told what to do by JSON on standard input, says what
it saw as JSON on standard output.
"""

import asyncio
import hashlib
import json
import sys
from datetime import UTC, datetime
from typing import Any

import httpx
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from cloudevents.core.base import BaseCloudEvent
from cloudevents.core.bindings import kafka
from cloudevents.core.v1.event import CloudEvent

PUBLIC = ("assets-approved.v1", "assets-published.v1", "requests-rejected.v1")


def request(told: dict[str, Any], name: str, **fields: Any) -> CloudEvent:
    return CloudEvent(
        {
            "type": "calotype.ImageRequested",
            "source": "/pim/of/strangers",
            "id": name,
            "specversion": "1.0",
            "time": datetime.now(UTC),
            "datacontenttype": "application/json",
            "workspace": told["workspace"],
            "clientreference": f"our {name}",
            "traceparent": f"00-{told['trace']}-00f067aa0ba902b7-01",
            "partitionkey": name,
        },
        told["ask"] | fields,
    )


async def send(producer: AIOKafkaProducer, topic: str, message: kafka.KafkaMessage) -> None:
    key = message.key.encode() if isinstance(message.key, str) else message.key
    await producer.send_and_wait(topic, value=message.value, key=key, headers=list(message.headers.items()))


async def read(consumer: AIOKafkaConsumer) -> BaseCloudEvent:
    record = await consumer.getone()
    message = kafka.KafkaMessage(headers=dict(record.headers), key=record.key, value=record.value)
    return kafka.from_kafka_event(message)


async def fetch(told: dict[str, Any], file: dict[str, Any]) -> dict[str, Any]:
    """The file behind its address: without a key, with one, and where that leads."""
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        stranger = await client.get(file["url"])
        known = await client.get(file["url"], headers={"Authorization": f"Bearer {told['token']}"})
        served = await client.get(known.headers["location"])  # without the key: the address is the permission
    return {
        "name": file["name"],
        "without_key": stranger.status_code,
        "redirect": known.status_code,
        "status": served.status_code,
        "media_type": served.headers["content-type"],
        "bytes": len(served.content),
        "sha256": hashlib.sha256(served.content).hexdigest(),
        "said": {name: file[name] for name in ("media_type", "bytes", "sha256")},
    }


async def main(told: dict[str, Any]) -> dict[str, Any]:
    topics = [told["prefix"] + topic for topic in PUBLIC]
    consumer = AIOKafkaConsumer(*topics, bootstrap_servers=told["bootstrap"], auto_offset_reset="earliest")
    producer = AIOKafkaProducer(bootstrap_servers=told["bootstrap"])
    await asyncio.gather(consumer.start(), producer.start())
    try:
        asked = told["prefix"] + "image-requests.v1"
        await send(producer, asked, kafka.to_binary_event(request(told, "binary")))
        await send(producer, asked, kafka.to_structured_event(request(told, "structured")))
        await send(producer, asked, kafka.to_binary_event(request(told, "wrong", channels=["telex"])))
        seen: list[BaseCloudEvent] = []
        while len(seen) < 5:  # two approved, two published, one rejected
            event = await read(consumer)
            if event.get_extension("workspace") == told["workspace"]:
                seen.append(event)
        approved = {
            str(e.get_extension("clientreference")): e for e in seen if e.get_type() == "calotype.AssetApproved"
        }
        files = {
            reference: [await fetch(told, file) for file in _data(event)["files"]]
            for reference, event in approved.items()
        }
    finally:
        await asyncio.gather(consumer.stop(), producer.stop())
    return {
        "events": [
            {name: _plain(value) for name, value in e.get_attributes().items()} | {"data": e.get_data()} for e in seen
        ],
        "files": files,
        "imported": sorted({name.partition(".")[0] for name in sys.modules}),
    }


def _data(event: BaseCloudEvent) -> dict[str, Any]:
    data = event.get_data()
    assert isinstance(data, dict)
    return data


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(json.load(sys.stdin)))))  # noqa: T201
