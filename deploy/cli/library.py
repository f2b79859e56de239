"""`calotype library …`: the documents a workspace can name."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from deploy.cli.client import connected
from deploy.cli.options import DATA, AsJson, DataOption, WorkspaceOption
from deploy.cli.terminal import plain_console
from deploy.errors import Problem as CliProblem
from shared.events import Problem
from shared.library.documents import KINDS
from shared.library.lint import lint as lint_documents
from shared.library.reading import Finding, Reading, read_folder
from shared.library.shelf import Shelf

app = typer.Typer(
    help="Brands, templates, policies, recipes and campaigns.", no_args_is_help=True, add_completion=False
)

Folder = Annotated[Path, typer.Argument(help="A folder of *.yaml documents.", exists=True, file_okay=False)]


@app.command()
def lint(folder: Folder, as_json: AsJson = False) -> None:  # noqa: FBT002 a flag
    """Check the documents of a folder, each and all together; exit 1 if one is at fault."""
    reading, findings = check(folder)
    if as_json:
        typer.echo(json.dumps([_told(finding) for finding in findings]))
    else:
        for finding in findings:
            typer.echo(str(finding))
        typer.echo(f"{len(reading.documents)} documents, {len(findings)} findings")
    if any(finding.error for finding in findings):
        raise typer.Exit(1)


@app.command()
def publish(
    folder: Folder,
    data: DataOption = DATA,
    workspace: WorkspaceOption = None,
    as_json: AsJson = False,  # noqa: FBT002 a flag
) -> None:
    """Publish what is new in a folder: all of it, or nothing and why."""
    reading = read_folder(folder)
    findings = reading.findings
    told: dict[str, Any] = {}
    if not findings:
        body = {"documents": [document.model_dump(mode="json") for document, _ in reading.documents]}
        with connected(data, workspace=workspace) as client:
            answer = client.send("POST", "/v1/library", json=body)
            faults = answer.json().get("problems", []) if answer.status_code == 422 else []
            findings = [_located(fault, reading) for fault in faults]
            told = {} if findings else client.checked(answer)
    if findings:
        for finding in findings:
            typer.echo(str(finding), err=True)
        typer.echo("Nothing was published.", err=True)
        raise typer.Exit(1)
    if as_json:
        typer.echo(json.dumps(told))
        return
    for label in told["published"]:
        typer.echo(f"published {label}")
    typer.echo(f"{len(told['published'])} published, {len(told['unchanged'])} were before")


@app.command()
def rollback(
    kind: Annotated[str, typer.Argument(help="routes, or another kind.")],
    name: Annotated[str | None, typer.Argument(help="Which one; needed where there are several.")] = None,
    to: Annotated[int | None, typer.Option(help="The version to go back to; default: the one before.", min=1)] = None,
    data: DataOption = DATA,
    workspace: WorkspaceOption = None,
    as_json: AsJson = False,  # noqa: FBT002 a flag
) -> None:
    """Put the version before in force again, as a new version; routes follow within seconds."""
    with connected(data, workspace=workspace) as client:
        name = name or _only(kind, client.get("/v1/library", kind=kind))
        told = client.post(f"/v1/library/{kind}/{name}/rollback", {"to": to})
    if as_json:
        typer.echo(json.dumps(told))
        return
    typer.echo(f"published {kind} {told['published']}: what {told['content_of']} said, instead of {told['instead_of']}")


def _only(kind: str, items: list[dict[str, Any]]) -> str:
    names: list[str] = sorted({item["name"] for item in items})
    if len(names) != 1:
        what = f"There are several of kind {kind!r}." if names else f"There is nothing of kind {kind!r}."
        raise CliProblem(what, remedy=f"Name one: {', '.join(names)}." if names else "See `calotype library list`.")
    return names[0]


@app.command(name="list")
def list_(
    kind: Annotated[str | None, typer.Argument(help=f"One of: {', '.join(KINDS)}.")] = None,
    data: DataOption = DATA,
    workspace: WorkspaceOption = None,
    as_json: AsJson = False,  # noqa: FBT002 a flag
) -> None:
    """List what is published."""
    with connected(data, workspace=workspace) as client:
        items = client.get("/v1/library", kind=kind)
    if as_json:
        typer.echo(json.dumps(items))
        return
    table = Table("kind", "name", "state", "owner", box=None)
    for item in items:
        table.add_row(item["kind"], f"{item['name']}@{item['version']}", item["state"], item["owner"])
    plain_console().print(table)


@app.command()
def show(
    kind: Annotated[str, typer.Argument(help=f"One of: {', '.join(KINDS)}.")],
    name: Annotated[str, typer.Argument(help="`name` or `name@version`.")],
    data: DataOption = DATA,
    workspace: WorkspaceOption = None,
) -> None:
    """Print one document as JSON."""
    name, _, version = name.partition("@")
    with connected(data, workspace=workspace) as client:
        typer.echo(json.dumps(client.get(f"/v1/library/{kind}/{name}", version=version or None), indent=1))


def check(folder: Path) -> tuple[Reading, list[Finding]]:
    """The documents of a folder and everything wrong with them, in the order of files and lines."""
    reading = read_folder(folder)
    documents = [document for document, _ in reading.documents]
    sources = {id(document): source for document, source in reading.documents}
    found = [
        sources[id(fault.document)].finding(fault.loc, fault.problem, error=fault.error)
        for fault in lint_documents(documents, published=Shelf())
    ]
    return reading, sorted([*reading.findings, *found], key=lambda finding: (finding.file, finding.line))


def _located(fault: dict[str, Any], reading: Reading) -> Finding:
    """What the service said of a document, with the file and line it was read from."""
    problem = Problem.model_validate(fault)
    for document, source in reading.documents:
        if (document.kind, document.label) == (fault.get("kind"), fault.get("document")):
            return source.finding(_path(problem.where or ""), problem)
    return Finding(file="", line=0, problem=problem)


def _path(where: str) -> tuple[int | str, ...]:
    """`renditions[0].name` as the path it came from."""
    pieces = filter(None, where.replace("]", "").replace("[", ".").split("."))
    return tuple(int(piece) if piece.isdigit() else piece for piece in pieces)


def _told(finding: Finding) -> dict[str, Any]:
    about = {"file": finding.file, "line": finding.line, "error": finding.error}
    return about | finding.problem.model_dump(exclude_none=True)
