"""Looking through a file before anything is spent: what would be made, and what is wrong."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from pydantic import BaseModel, Field

from services.intake.batches import Sheet, column_of, errors_csv_header, errors_csv_line
from services.intake.domain import Groups, collect, most_frequent
from services.intake.worker import SortedOut
from shared.events import Problem


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
