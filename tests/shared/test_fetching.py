"""A record that a strange client wrote is read, and so is what stands around it."""

from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer import fetcher
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy as DefaultRecordBatchBuilder

from shared import fetching

NONE, GZIP, SNAPPY, LZ4, ZSTD = range(5)


def fetched(codec: int) -> bytes:
    """Two batches of three records; the second record of the first has a header whose name is no UTF-8."""
    raw = b""
    for base in (0, 3):
        builder: Any = DefaultRecordBatchBuilder(
            magic=2,
            compression_type=codec,
            is_transactional=0,
            producer_id=-1,
            producer_epoch=-1,
            base_sequence=-1,
            batch_size=99_999,
        )
        for number in range(3):
            name = "\udcff\udcfe" if base + number == 1 else "name"
            builder.append(
                number, timestamp=1, key=b"k", value=b"v%d" % (base + number), headers=[(_Name(name), b"value")]
            )
        batch = bytearray(builder.build())
        batch[:8] = base.to_bytes(8, "big")  # what a broker does; the checksum begins behind it
        raw += batch
    return raw


class _Name(str):
    """What the builder encodes like any other name."""

    __slots__ = ()

    def encode(self, *_: Any) -> bytes:
        return super().encode("utf-8", "surrogateescape")


@pytest.mark.parametrize("codec", [NONE, GZIP, SNAPPY, LZ4, ZSTD])
def test_a_header_name_that_is_no_utf8_stops_nothing(codec: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetcher, "MemoryRecords", fetcher.MemoryRecords)
    monkeypatch.setattr(fetcher.PartitionRecords, "_unpack_records", fetching.read_strictly)
    fetching.install()
    records = fetcher.MemoryRecords(fetched(codec))
    reading = fetcher.PartitionRecords(
        TopicPartition("t", 0),
        records,
        aborted_transactions=[],
        fetch_offset=0,
        key_deserializer=None,
        value_deserializer=None,
        check_crcs=True,
        isolation_level=0,
    )
    read = list(reading)
    assert [(record.offset, record.value) for record in read] == [(n, b"v%d" % n) for n in range(6)]
    assert [record.headers[0][0] for record in read] == ["name", "\ufffd\ufffd", *["name"] * 4]
