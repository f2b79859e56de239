"""Cutting a batch file into parts while it arrives: whole rows, each part small enough for one transaction.

Nothing larger than one part and one row is ever held, whatever the file's size. Where a row ends is asked of the csv
module itself, the same that reads the parts later, so the two cannot differ about a line end inside quotes.
"""

import codecs
import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from shared.errors import Rejected

PART_BYTES = 64 * 1024  # some 600 rows of a campaign file: one transaction, and 30 ms of the event loop
MAX_ROW_BYTES = 120 * 1024  # below the csv module's own limit for one field (128 KiB)
DELIMITERS = (",", ";", "\t")
Format = Literal["csv", "jsonl"]


@dataclass(frozen=True, slots=True)
class Part:
    """Whole rows, and the line of the file (from 1) the first of them stands on."""

    data: bytes
    first_line: int


class Cutter:
    """Feed it bytes as they come, then `end` it; `encoding` and `delimiter` are known by then.

    Raises Rejected from every method for what no part of the file can be read with.
    """

    def __init__(self, format: Format) -> None:
        self.format = format
        self.delimiter = ","
        self._pending = b""
        self._line = 1
        self._begun = False
        self._utf8_line: int | None = None
        self._other_line: int | None = None
        self._is_marked = False

    @property
    def encoding(self) -> str:
        return "utf-8" if self._other_line is None else "cp1252"

    def feed(self, data: bytes) -> Iterator[Part]:
        self._pending += data
        if not self._begun:
            if len(self._pending) < len(codecs.BOM_UTF8) or b"\n" not in self._pending[:MAX_ROW_BYTES]:
                if len(self._pending) > MAX_ROW_BYTES:
                    raise _too_long(1)
                return
            self._begin()
        while len(self._pending) >= PART_BYTES:
            size = self._rows_within(PART_BYTES) or self._rows_within(PART_BYTES + MAX_ROW_BYTES)
            if not size:
                if len(self._pending) < PART_BYTES + MAX_ROW_BYTES:
                    return
                raise _too_long(self._line)
            yield self._cut(size)

    def end(self) -> Iterator[Part]:
        if not self._begun:
            self._begin()
        if self.format == "csv":
            self._refuse_open_quote()
        if self._pending.strip():
            yield self._cut(len(self._pending))

    def _begin(self) -> None:
        self._begun = True
        if self._pending.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise Rejected("not_utf8", "the file is UTF-16", "file", "save it as “CSV UTF-8”")
        if self._pending.startswith(codecs.BOM_UTF8):
            self._is_marked = True
            self._pending = self._pending[len(codecs.BOM_UTF8) :]
        if self.format == "csv":
            first = self._pending.partition(b"\n")[0].decode("latin-1").strip()
            if first.lower().strip('"').startswith("sep=") and len(first.strip('"')) == 5:
                self.delimiter = first.strip('"')[-1]
                self._pending = self._pending.partition(b"\n")[2]
                self._line += 1
            else:
                self.delimiter = max(DELIMITERS, key=first.count)

    def _rows_within(self, size: int) -> int:
        """How many of the first `size` bytes are rows that certainly ended."""
        end = self._pending.rfind(b"\n", 0, size) + 1
        if not end or self.format == "jsonl":
            return end
        lines = _lines(self._pending[:end])
        reader = csv.reader(lines, delimiter=self.delimiter)
        ended = before = 0
        try:
            for _ in reader:
                # The last row may go on behind what was looked at, so it counts only once another follows.
                ended, before = before, reader.line_num
        except csv.Error:
            raise _too_long(self._line + before) from None
        return sum(map(len, lines[:ended]))

    def _cut(self, size: int) -> Part:
        part = Part(self._pending[:size], self._line)
        self._pending = self._pending[size:]
        self._judge_encoding(part)
        self._line += part.data.count(b"\n")
        return part

    def _judge_encoding(self, part: Part) -> None:
        """UTF-8 throughout, or CP-1252 throughout; a file that is a bit of both would be read wrong silently."""
        if part.data.isascii():
            return
        for number, line in enumerate(part.data.split(b"\n"), part.first_line):
            if line.isascii():
                continue
            try:
                line.decode("utf-8")
                self._utf8_line = self._utf8_line or number
            except UnicodeDecodeError:
                self._other_line = self._other_line or number
                self._refuse_unless_cp1252(line, number)
        if self._other_line and (self._is_marked or self._utf8_line):
            what = f"line {self._other_line} is not UTF-8, though the file is otherwise"
            raise Rejected("not_utf8", what, f"line {self._other_line}", "save the file as UTF-8")

    def _refuse_unless_cp1252(self, line: bytes, number: int) -> None:
        try:
            line.decode("cp1252")
        except UnicodeDecodeError:
            what = f"line {number} is neither UTF-8 nor CP-1252"
            raise Rejected("not_utf8", what, f"line {number}", "save the file as UTF-8") from None

    def _refuse_open_quote(self) -> None:
        line = self._line
        try:
            reader = csv.reader(_lines(self._pending), delimiter=self.delimiter, strict=True)
            for _ in reader:
                line = self._line + reader.line_num
        except csv.Error as error:
            if "end of data" in str(error):
                what = f"a quote that is opened in the row at line {line} is never closed"
                raise Rejected(
                    "open_quote", what, f"line {line}", 'close it, or write "" for a quote in a text'
                ) from None


def _lines(data: bytes) -> list[str]:
    """As the csv module counts them, one character a byte; `splitlines` would also break inside letters of UTF-8."""
    return list(io.StringIO(data.decode("latin-1"), newline=""))


def _too_long(line: int) -> Rejected:
    what = f"the row at line {line} is longer than {MAX_ROW_BYTES // 1024} KiB"
    return Rejected("row_too_long", what, f"line {line}", "look there for a quote that is never closed")


def csv_rows(part: Part, *, encoding: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Line and cells of each row of the part that is not blank."""
    reader = csv.reader(io.StringIO(part.data.decode(encoding), newline=""), delimiter=delimiter)
    line = part.first_line
    for cells in reader:
        if any(cell.strip() for cell in cells):
            yield line, cells
        line = part.first_line + reader.line_num


def json_rows(part: Part, *, encoding: str) -> Iterator[tuple[int, str]]:
    """Line and text of each line of the part that is not blank."""
    for line, text in enumerate(part.data.decode(encoding).split("\n"), part.first_line):
        if text.strip():
            yield line, text
