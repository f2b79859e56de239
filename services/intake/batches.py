"""Rows of a file as asks, and the report of what is wrong with them. No I/O."""

import csv
import io
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import Any
from uuid import UUID

import orjson

from services.intake.files import Format, Part, csv_rows, json_rows
from services.intake.sources import Sources, resolve_all
from shared.errors import Rejected
from shared.events import ImageRequested, Problem
from shared.library.asks import CONTROL, Resolved, read
from shared.library.offers import Offers
from shared.library.problems import suggest

# Columns that are fields of a request; every other one is a variable of the template.
FIELDS = frozenset(ImageRequested.model_fields) - {"skus", "variables"}
LISTS = {"sku": "skus", "skus": "skus", "channels": "channels"}  # cells that hold several, joined by |
SOURCES = "sources"  # joined by | too, each an id, or a role and an id: mask:0f8f…
KEY = "key"
REPORT = ("problem", "column", "fix")  # what errors.csv adds; ignored when it is sent back
MAX_COLUMNS = 200
MAX_KEY = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row: the line it stands on, its key, and the ask in it or what is wrong."""

    line: int
    cells: Sequence[str]
    key: str | None = None
    asked: ImageRequested | None = None
    resolved: Resolved | None = None
    problems: Sequence[Problem] = ()


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """How the rows of one file are read. `defaults` fill fields the rows leave empty."""

    format: Format
    encoding: str = "utf-8"
    delimiter: str = ","
    titles: Sequence[str] = ()
    defaults: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def header(self) -> Sequence[str]:
        """The columns by the names they are understood under."""
        return [title.strip().lower().replace(" ", "_") for title in self.titles]

    @property
    def columns(self) -> Sequence[str]:
        """What errors.csv shows of a row: its own columns, or its text where a file has none."""
        return self.titles if self.format == "csv" else ("row",)

    def rows(self, part: Part, *, first: bool) -> Iterator[Row]:
        """The rows of a part, each read but not yet resolved; the first part of a table begins with its header."""
        if self.format == "jsonl":
            for line, text in json_rows(part, encoding=self.encoding):
                yield self._json_row(line, text)
            return
        rows = csv_rows(part, encoding=self.encoding, delimiter=self.delimiter)
        for line, cells in islice(rows, 1 if first else 0, None):
            yield self._csv_row(line, cells)

    def _csv_row(self, line: int, cells: list[str]) -> Row:
        if len(cells) != len(self.header):
            fewer = len(cells) < len(self.header)
            what = f"the row has {len(cells)} cells, the header {len(self.header)}"
            remedy = "add the missing cells" if fewer else f"put quotes around a text that contains {self.delimiter!r}"
            problem = Problem(code="too_few_cells" if fewer else "too_many_cells", what=what, remedy=remedy)
            return Row(line=line, cells=cells, problems=[problem])
        fields: dict[str, Any] = {}
        variables: dict[str, str] = {}
        for column, cell in zip(self.header, cells, strict=True):
            text = cell.strip()
            if not text or column in REPORT:
                continue
            if column in LISTS:
                fields[LISTS[column]] = [item.strip() for item in text.split("|") if item.strip()]
            elif column == SOURCES:
                fields[SOURCES] = [_source(item) for item in text.split("|") if item.strip()]
            elif column == KEY or column in FIELDS:
                fields[column] = text.lower() if column in _LOWER else text
            else:
                variables[column] = text
        if variables:
            fields["variables"] = variables
        return self._row(line, cells, fields)

    def _json_row(self, line: int, text: str) -> Row:
        try:
            fields = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            problem = Problem(code="not_json", what=f"is not JSON: {error}", remedy="write one JSON object a line")
            return Row(line=line, cells=[text], problems=[problem])
        if not isinstance(fields, dict):
            problem = Problem(code="not_json", what="is not a JSON object", remedy="write one JSON object a line")
            return Row(line=line, cells=[text], problems=[problem])
        return self._row(line, [text], fields)

    def _row(self, line: int, cells: Sequence[str], fields: dict[str, Any]) -> Row:
        key = fields.pop(KEY, None)
        problems = list(_key_problems(key))
        asked = read({**self.defaults, **fields})
        if isinstance(asked, list):
            problems += asked
        if problems:
            return Row(line=line, cells=cells, key=key if isinstance(key, str) else None, problems=problems)
        return Row(line=line, cells=cells, key=key, asked=asked)  # type: ignore[arg-type]


def _source(item: str) -> dict[str, str]:
    role, _, source = item.rpartition(":")
    return {"source": source.strip()} | ({"role": role.strip().lower()} if role else {})


_LOWER = frozenset(("priority", "confidentiality"))


def _key_problems(key: object) -> Iterator[Problem]:
    if key is None or key == "":
        remedy = "give each row a key of its own, and keep it when you change the row"
        yield Problem(code="missing_field", what="the row has no key", where=KEY, remedy=remedy)
    elif not isinstance(key, str):
        yield Problem(code="wrong_type", what="is not text", where=KEY, remedy="write it in quotes")
    elif len(key) > MAX_KEY or CONTROL.search(key):
        what = f"is longer than {MAX_KEY} characters, or holds what is not text"
        yield Problem(code="malformed", what=what, where=KEY, remedy="shorten it to letters and digits")


def open_sheet(
    format: Format, first: Part | None, *, encoding: str, delimiter: str, defaults: Mapping[str, str]
) -> Sheet:
    """The sheet whose first part this is, its header read.

    Raises:
        Rejected: the file is empty, or its header lacks a column, names one twice, or leaves one without a name.
    """
    unknown = defaults.keys() - FIELDS
    if unknown:
        name = min(unknown)
        raise Rejected("unknown_field", f"{name!r} is no field of a request", name, suggest(name, FIELDS))
    if first is None:
        raise Rejected("empty", "the file is empty", "file", "send a header and at least one row")
    if format == "jsonl":
        return Sheet(format=format, encoding=encoding, defaults=defaults)
    _, cells = next(csv_rows(first, encoding=encoding, delimiter=delimiter))
    sheet = Sheet(format=format, encoding=encoding, delimiter=delimiter, titles=cells, defaults=defaults)
    _check_header(sheet.header, delimiter=delimiter, defaults=defaults)
    return sheet


def _check_header(header: Sequence[str], *, delimiter: str, defaults: Mapping[str, str]) -> None:
    if len(header) > MAX_COLUMNS:
        raise Rejected("too_many", f"the header has {len(header)} columns", "header", f"send at most {MAX_COLUMNS}")
    for place, column in enumerate(header):
        if not column:
            raise Rejected("malformed", f"column {place + 1} has no name", "header", "name it or remove it")
        if column in header[:place]:
            raise Rejected("doubled", f"the column {column!r} stands twice", "header", "keep one of them")
    given = {*header, *defaults}
    for column, why in _NEEDED.items():
        if not given.intersection(column.split(" or ")):
            what = (
                f"the column {column} is missing; read with {_SPOKEN[delimiter]} between columns: {', '.join(header)}"
            )
            raise Rejected("missing_column", what, "header", why)


_SPOKEN = {",": "commas", ";": "semicolons", "\t": "tabs"}
_NEEDED = {
    KEY: "add it: a name of your own for each row, kept when the row changes",
    "campaign": "add it, or name the campaign once for the whole file (`campaign=…`)",
    "asset_type or template": "add it: it chooses what the campaign makes",
}


def judged(row: Row, offers: Offers, sources: Sources, parents: Collection[UUID] = ()) -> Row:
    """The row with what it names found, or with what is wrong."""
    if row.asked is None:
        return row
    resolved = resolve_all(row.asked, offers, sources, parents)
    if isinstance(resolved, list):
        return Row(line=row.line, cells=row.cells, key=row.key, asked=row.asked, problems=resolved)
    return Row(line=row.line, cells=row.cells, key=row.key, asked=row.asked, resolved=resolved)


def doubled(row: Row, line: int) -> Problem:
    what = f"the key {row.key!r} stands in line {line} too"
    return Problem(code="doubled_key", what=what, where=KEY, remedy="give one of them another key")


def column_of(problem: Problem, header: Sequence[str]) -> str:
    """The column a person looks for: `variables.setting` is the column setting, `skus[0]` the column sku."""
    where = (problem.where or "").removeprefix("variables.").partition("[")[0]
    return "sku" if where == "skus" and "sku" in header else where


def errors_csv_header(columns: Sequence[str], *, delimiter: str) -> str:
    return "\ufeff" + _line([*_kept(columns, columns), *REPORT], delimiter)  # the mark tells Excel that it is UTF-8


def errors_csv_line(
    columns: Sequence[str], cells: Sequence[str], problems: Iterable[Problem], *, delimiter: str
) -> str:
    """A refused row as it was written, then every problem with its column and what to do."""
    problems = list(problems)
    # A row with the wrong number of cells is shown as it is; its report follows behind the header's last column.
    padded = [*cells, *[""] * (len(columns) - len(cells))]
    report = (
        " | ".join(problem.what for problem in problems),
        " | ".join(column_of(problem, columns) for problem in problems),
        " | ".join(problem.remedy for problem in problems),
    )
    return _line([*_kept(columns, padded), *report], delimiter)


def _kept(columns: Sequence[str], cells: Sequence[str]) -> list[str]:
    """Without the report of an earlier round, for a repaired errors.csv may be sent as it is."""
    extra = cells[len(columns) :]
    return [cell for column, cell in zip(columns, cells, strict=False) if column.strip().lower() not in REPORT] + list(
        extra
    )


def _line(cells: Sequence[str], delimiter: str) -> str:
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter, lineterminator="\r\n").writerow(cells)
    return out.getvalue()
