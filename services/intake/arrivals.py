"""A batch file on its way in: its name and defaults from the query or the form, its rows part by part as they come."""

from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, replace
from uuid import UUID

from fastapi import Request
from starlette.datastructures import UploadFile

from services.intake.batches import Sheet, open_sheet
from services.intake.expansion import Batch
from services.intake.files import Cutter, Format, Part
from shared import ids
from shared.errors import Rejected
from shared.http import HttpProblem, trace_of
from shared.identity import Caller
from shared.library.asks import CONTROL

FILE_CAP = 64 * 1024 * 1024  # some 400,000 rows
CHUNK = 64 * 1024
MAX_NAME = 200
STORED_AS = {"csv": "text/csv", "jsonl": "application/jsonl"}
MEDIA_TYPES: dict[str, Format] = {
    "text/csv": "csv",
    "application/csv": "csv",
    "application/vnd.ms-excel": "csv",  # what browsers on Windows call a .csv
    "application/jsonl": "jsonl",
    "application/x-ndjson": "jsonl",
    "application/x-jsonlines": "jsonl",
}


@dataclass(slots=True)
class Arrival:
    """One file. `sheet` and `name` are known from the first part on; the encoding may still change until the last."""

    format: Format
    defaults: dict[str, str]
    traceparent: str
    _bytes: AsyncIterator[bytes]
    name: str = ""
    sheet: Sheet = Sheet(format="csv")  # noqa: RUF009  # frozen

    @classmethod
    async def of(cls, request: Request) -> "Arrival":
        """Raises HttpProblem for a body that is neither CSV nor JSONL, nor a form with such a file."""
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        fields: dict[str, str] = dict(request.query_params)
        if media_type == "multipart/form-data":
            form = await request.form(max_files=1, max_fields=40)
            fields |= {name: value for name, value in form.items() if isinstance(value, str) and name != "csrf"}
            file = form.get("file")
            if not isinstance(file, UploadFile):
                raise HttpProblem("missing_field", "the form has no file", where="file", remedy="name the part `file`")
            media_type = (file.content_type or "").partition(";")[0].lower()
            if (file.filename or "").lower().endswith((".jsonl", ".ndjson")):
                media_type = "application/jsonl"
            elif (file.filename or "").lower().endswith(".csv"):
                media_type = "text/csv"
            data = _of_file(file)
        else:
            data = request.stream()
        if media_type not in MEDIA_TYPES:
            what = f"{media_type or 'a body without Content-Type'} is not a batch file"
            remedy = f"send one of: {', '.join(MEDIA_TYPES)}; or a multipart/form-data form with a part `file`"
            raise HttpProblem("unsupported_media_type", what, where="Content-Type", remedy=remedy)
        name = fields.pop("name", "").strip()
        return cls(MEDIA_TYPES[media_type], fields, trace_of(request), data, name)

    async def parts(self) -> AsyncGenerator[Part]:
        """Whole rows at a time.

        Raises:
            Rejected: the file, or its header, cannot be read.
        """
        cutter = Cutter(self.format)
        opened = False
        async for data in self._bytes:
            for part in cutter.feed(data):
                self._look_at(part, cutter, first=not opened)
                opened = True
                yield part
        for part in cutter.end():
            self._look_at(part, cutter, first=not opened)
            opened = True
            yield part
        if not opened:
            raise Rejected("empty", "the file is empty", "file", "send a header and at least one row")

    def _look_at(self, part: Part, cutter: Cutter, *, first: bool) -> None:
        if first:
            self.sheet = open_sheet(
                self.format, part, encoding=cutter.encoding, delimiter=cutter.delimiter, defaults=self.defaults
            )
            self.name = _checked(self.name or self._campaign(part))
        elif self.sheet.encoding != cutter.encoding:
            # Until here every byte was ASCII, which both encodings read alike.
            self.sheet = replace(self.sheet, encoding=cutter.encoding)

    def _campaign(self, first: Part) -> str:
        """A batch without a name goes by its campaign: the file's, else its first row's."""
        if campaign := self.defaults.get("campaign"):
            return campaign
        for row in self.sheet.rows(first, first=True):
            return (row.asked.campaign if row.asked else None) or ""
        return ""

    def batch_id(self, workspace: UUID) -> UUID:
        return ids.batch_id(workspace, self.name)

    def batch(self, caller: Caller) -> Batch:
        """The batch as far as it is known before it is stored."""
        return Batch(
            batch_id=self.batch_id(caller.workspace),
            workspace=caller.workspace,
            name=self.name,
            principal=caller.principal,
            upload=0,
            sheet=self.sheet,
            traceparent=self.traceparent,
        )


def _checked(name: str) -> str:
    if not name:
        raise Rejected("missing_field", "the batch has no name", "name", "give `name=…`, the same whenever you send it")
    if len(name) > MAX_NAME or CONTROL.search(name):
        what = f"the name is longer than {MAX_NAME} characters, or holds what is not text"
        raise Rejected("malformed", what, "name", "shorten it to letters and digits")
    return name


async def _of_file(file: UploadFile) -> AsyncIterator[bytes]:
    try:
        while data := await file.read(CHUNK):
            yield data
    finally:
        await file.close()
