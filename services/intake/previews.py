"""Looking through a file before anything is spent: what would be made, and what is wrong."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from pydantic import BaseModel, Field

from services.intake.batches import Sheet, column_of, errors_csv_header, errors_csv_line
from services.intake.expansion import SortedOut
from shared.events import Problem


@dataclass(slots=True)
class Group:
    """One kind of fault, and the lines it was found on."""

    problem: Problem
    lines: list[int] = field(default_factory=list)
    count: int = 0


Groups = dict[tuple[str, str, str | None], Group]
SHOWN_LINES = 10
MAX_GROUPS = 1000  # a file where every row is wrong in its own way has as many kinds as rows


def collect(groups: Groups, line: int, problems: Iterable[Problem]) -> None:
    """Counts the problems of one line among their kind."""
    for problem in problems:
        key = (problem.code, problem.what, problem.where)
        if key not in groups and len(groups) >= MAX_GROUPS:
            key = (problem.code, "", None)
            problem = Problem(code=problem.code, what="many more of this kind", remedy="see errors.csv")  # noqa: PLW2901
        group = groups.setdefault(key, Group(problem))
        group.count += 1
        if len(group.lines) < SHOWN_LINES:
            group.lines.append(line)


def most_frequent(groups: Groups) -> list[Group]:
    return sorted(groups.values(), key=lambda group: (-group.count, group.lines[0]))


class Fault(BaseModel):
    """One kind of fault, and the first lines it is on."""

    code: str
    what: str
    column: str
    remedy: str
    count: int
    lines: list[int]


class Preview(BaseModel):
    """What sending the file would do now. Nothing was stored."""

    name: str
    rows: int
    good: int = Field(description="Rows that would be made, or were made before")
    unchanged: int = Field(description="Of the good ones: made before, so nothing would happen")
    refused: int
    jobs: int
    jobs_by_asset_type: dict[str, int]
    encoding: str
    delimiter: str
    faults: list[Fault]


@dataclass(slots=True)
class Looked:
    """What was counted so far: of a good row only its key is kept, of a refused one its report if that is wanted."""

    keep_report: bool
    rows: int = 0
    unchanged: int = 0
    refused: int = 0
    jobs: Counter[str] = field(default_factory=Counter)
    keys: dict[str, int] = field(default_factory=dict)
    groups: Groups = field(default_factory=dict)
    report: list[tuple[Sequence[str], Sequence[Problem]]] = field(default_factory=list)

    def add(self, part: SortedOut) -> None:
        self.rows += len(part.new) + len(part.same) + len(part.faults)
        self.unchanged += len(part.same)
        self.refused += len(part.faults)
        for _, ask in part.new:
            assert ask.resolved is not None
            self.jobs[ask.resolved.offer.asset_type] += ask.resolved.asked.variants
        for row, problems in part.faults:
            collect(self.groups, row.line, problems)
            if self.keep_report:
                self.report.append((row.cells, problems))

    def summary(self, name: str, sheet: Sheet) -> Preview:
        faults = [
            Fault(
                code=group.problem.code,
                what=group.problem.what,
                column=column_of(group.problem, sheet.columns),
                remedy=group.problem.remedy,
                count=group.count,
                lines=group.lines,
            )
            for group in most_frequent(self.groups)
        ]
        return Preview(
            name=name,
            rows=self.rows,
            good=self.rows - self.refused,
            unchanged=self.unchanged,
            refused=self.refused,
            jobs=self.jobs.total(),
            jobs_by_asset_type=dict(self.jobs),
            encoding=sheet.encoding,
            delimiter=sheet.delimiter,
            faults=faults,
        )

    def errors_csv(self, sheet: Sheet) -> Iterator[str]:
        yield errors_csv_header(sheet.columns, delimiter=sheet.delimiter)
        for cells, problems in self.report:
            yield errors_csv_line(sheet.columns, cells, problems, delimiter=sheet.delimiter)
