"""One stage of the raw chain: read, validate, send on under the key, commit. Six of these make `vs_raw_chain`'s arm.

What one would write without Calotype: idempotent keyed sends in batches, the next fetch while acknowledgements come in;
no dead letters, no state, no lineage. `python -m benchmarks.raw_stage BOOTSTRAP IN OUT`.
"""

import asyncio
import sys
from typing import Any

import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from shared.events import PromptAssembled


async def main(bootstrap: str, source: str, target: str) -> None:
    consumer = AIOKafkaConsumer(
        source,
        bootstrap_servers=bootstrap,
        group_id=f"raw-{source}",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap, acks="all", enable_idempotence=True, linger_ms=2, max_batch_size=256 * 1024
    )
    await consumer.start()
    await producer.start()
    previous: list[Any] = []
    while True:
        batches = await consumer.getmany(timeout_ms=50, max_records=500)
        sent = []
        for batch in batches.values():
            for record in batch:
                event = PromptAssembled.model_validate_json(record.value)
                sent.append(await producer.send(target, value=event.body(), key=record.key))
        if previous:
            await asyncio.gather(*previous)
            await consumer.commit()
        previous = sent


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
