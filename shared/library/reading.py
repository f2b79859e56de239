"""Library documents from YAML, with the file and line of everything that is wrong with them.

One file holds one or more documents (`---` between them), each with its `kind`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from shared.events import Problem
from shared.library.documents import KINDS, MODELS, AnyDocument
from shared.library.problems import Loc, problems_of, suggest

MAX_FILE_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One fault: an error keeps the library from being published, a warning does not."""

    file: str
    line: int
    problem: Problem
    error: bool = True

    def __str__(self) -> str:
        where = f" {self.problem.where}:" if self.problem.where else ""
        return f"{self.file}:{self.line}:{where} {self.problem.what}; {self.problem.remedy}"


@dataclass(frozen=True, slots=True)
class Source:
    """Where a document was read, and the line of every path in it."""

    file: str
    lines: dict[Loc, int]

    def line(self, loc: Loc) -> int:
        """The line of the path, or of the nearest thing around it that was written."""
        while loc and loc not in self.lines:
            loc = loc[:-1]
        return self.lines.get(loc, 1)

    def finding(self, loc: Loc, problem: Problem, *, error: bool = True) -> Finding:
        return Finding(file=self.file, line=self.line(loc), problem=problem, error=error)


@dataclass(slots=True)
class Reading:
    """What a folder holds: documents that are well formed, and what is wrong with the others."""

    documents: list[tuple[AnyDocument, Source]] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)


def read_folder(folder: Path) -> Reading:
    """Every `*.yaml` and `*.yml` below the folder, in the order of their names."""
    reading = Reading()
    files = sorted(path for path in folder.rglob("*") if path.suffix in {".yaml", ".yml"} and path.is_file())
    if not files:
        problem = Problem(code="empty", what="no *.yaml file in this folder", remedy="name the folder that holds them")
        reading.findings.append(Finding(file=str(folder), line=1, problem=problem))
    for path in files:
        read_text(path.read_bytes(), file=str(path.relative_to(folder)), into=reading)
    return reading


def read_text(data: bytes, *, file: str, into: Reading) -> None:
    """Reads one file's documents into `into`."""
    if len(data) > MAX_FILE_BYTES:
        what = f"is larger than {MAX_FILE_BYTES // 1024} KiB"
        problem = Problem(code="too_large", what=what, remedy="write one document per file")
        into.findings.append(Finding(file=file, line=1, problem=problem))
        return
    try:
        for node in yaml.compose_all(data.decode("utf-8-sig"), Loader=_Loader):
            _read_document(node, file=file, into=into)
    except UnicodeDecodeError as error:
        problem = Problem(code="not_utf8", what=f"byte {error.start} is not UTF-8", remedy="save the file as UTF-8")
        into.findings.append(Finding(file=file, line=1, problem=problem))
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a date with a thirteenth month
        mark = getattr(error, "problem_mark", None)
        what = str(getattr(error, "problem", None) or error)
        problem = Problem(code="not_yaml", what=what, remedy="correct the YAML at this line")
        into.findings.append(Finding(file=file, line=mark.line + 1 if mark else 1, problem=problem))


def _read_document(node: yaml.Node, *, file: str, into: Reading) -> None:
    source = Source(file, dict(_lines(node, ())))
    doubled = list(_doubled(node, ()))
    into.findings += [
        source.finding(loc, Problem(code="doubled_key", what=f"{loc[-1]!r} stands twice", remedy="keep one of them"))
        for loc in doubled
    ]
    value = _Values(node).value()
    if doubled:
        return
    kind = value.get("kind") if isinstance(value, dict) else None
    if not isinstance(kind, str) or kind not in MODELS:
        what = "has no `kind`" if kind is None else f"{kind!r} is not a kind of document"
        remedy = suggest(str(kind), KINDS)
        problem = Problem(code="unknown_kind", what=what, where="kind", remedy=remedy)
        into.findings.append(source.finding(("kind",), problem))
        return
    try:
        into.documents.append((MODELS[kind].model_validate(value), source))
    except ValidationError as error:
        into.findings += [source.finding(loc, problem) for loc, problem in problems_of(error, MODELS[kind])]


class _Loader(yaml.SafeLoader):
    """Without aliases: they let a small file stand for an endless one."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(problem="aliases (`*name`) are not available", problem_mark=mark)
        return super().compose_node(parent, index)


class _Values(yaml.constructor.SafeConstructor):
    """Builds the plain value of a node that was composed (and measured) before."""

    def __init__(self, node: yaml.Node) -> None:
        super().__init__()
        self._node = node

    def value(self) -> Any:
        return self.construct_document(self._node)


def _lines(node: yaml.Node, loc: Loc) -> Iterator[tuple[Loc, int]]:
    yield loc, node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            path = (*loc, str(key.value))
            yield from _lines(value, path)
            yield path, key.start_mark.line + 1  # the key's line, where the eye looks, wins over the value's
    elif isinstance(node, yaml.SequenceNode):
        for place, value in enumerate(node.value):
            yield from _lines(value, (*loc, place))


def _doubled(node: yaml.Node, loc: Loc) -> Iterator[Loc]:
    """Keys that stand twice in one mapping, where YAML would silently keep the last."""
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if str(key.value) in seen:
                yield (*loc, str(key.value))
            seen.add(str(key.value))
            yield from _doubled(value, (*loc, str(key.value)))
    elif isinstance(node, yaml.SequenceNode):
        for place, value in enumerate(node.value):
            yield from _doubled(value, (*loc, place))
