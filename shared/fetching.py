"""What aiokafka cannot read and a broker takes: a header whose name is not UTF-8.

Its parser raises in the middle of a fetch, again and again: the partition would stand still for ever, and what was
fetched of other partitions beside it would be passed over. Here such a name is read with U+FFFD in it, as its record's
own matter; everything else is read as before, at the same cost.
"""

from collections.abc import Iterator
from typing import Any

from aiokafka.consumer import fetcher
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import MemoryRecords

OVERHEAD = 12  # base offset and length, which stand before every batch
MAGIC = 16
read_strictly = fetcher.PartitionRecords._unpack_records  # noqa: SLF001  # there is no public place to stand in


def install() -> None:
    """From now on every consumer of this process reads so."""
    fetcher.MemoryRecords = _Remembering
    fetcher.PartitionRecords._unpack_records = _read  # noqa: SLF001


class _Remembering(MemoryRecords):  # type: ignore[misc]  # which class it is, is known when it runs
    """A fetch that can be read a second time."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.data = data


def _read(records: Any) -> Iterator[Any]:
    try:
        yield from read_strictly(records)
    except UnicodeDecodeError:
        # From the beginning: what was given out already is told by its offset, and skipped.
        records._records = _Lenient(records._records.data)  # noqa: SLF001
        yield from read_strictly(records)


class _Lenient:
    """The batches of a fetch, as `MemoryRecords` gives them out."""

    def __init__(self, data: bytes) -> None:
        self._batches = MemoryRecords(data)
        self._left = memoryview(data)

    def has_next(self) -> bool:
        return bool(self._batches.has_next())

    def next_batch(self) -> Any:
        size = OVERHEAD + int.from_bytes(self._left[8:OVERHEAD], "big")
        raw, self._left = self._left[:size], self._left[size:]
        batch = self._batches.next_batch()
        return _Batch(batch, raw) if raw[MAGIC] >= 2 else batch  # before version 2 there were no headers


class _Batch:
    """A batch that answers as it did, and gives out its records leniently."""

    def __init__(self, batch: Any, raw: memoryview) -> None:
        self._batch = batch
        self._raw = raw

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __iter__(self) -> Iterator[Any]:
        batch = _DefaultRecordBatchPy(self._raw)
        batch._maybe_uncompress()  # noqa: SLF001
        batch._buffer = _Lossy(batch._buffer)  # noqa: SLF001
        return iter(batch)


class _Lossy(bytearray):
    """Bytes whose parts decode whatever they are."""

    def __getitem__(self, place: Any) -> Any:
        found = super().__getitem__(place)
        return _Lossy(found) if isinstance(place, slice) else found

    def decode(self, encoding: str = "utf-8", errors: str = "replace") -> str:
        return super().decode(encoding, errors)
