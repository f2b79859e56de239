"""`calotype workspace …`: whoever runs the installation makes workspaces and sets their limits."""

import json
from decimal import Decimal
from typing import Annotated, Any

import typer
from rich.table import Column, Table

from deploy.cli.client import connected_as_owner
from deploy.cli.options import DATA, AsJson, DataOption
from deploy.cli.terminal import plain_console
from deploy.errors import Problem

app = typer.Typer(help="Workspaces.", no_args_is_help=True, add_completion=False)

JobsADay = Annotated[int | None, typer.Option(min=0, help="Jobs a day (UTC) may have.")]
OpenJobs = Annotated[int | None, typer.Option(min=0, help="Jobs that may be open at once.")]
SpendADay = Annotated[str | None, typer.Option(help="What a day (UTC) may cost, in any one currency; more waits.")]
SourceMb = Annotated[int | None, typer.Option(min=0, help="Megabytes that its sources may take, `calotype source`.")]
Undo = Annotated[float | None, typer.Option(min=0, help="Seconds a decision can be taken back.")]


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="A name no other workspace has.")],
    jobs_per_day: JobsADay = None,
    open_jobs: OpenJobs = None,
    spend_per_day: SpendADay = None,
    source_mb: SourceMb = None,
    undo_seconds: Undo = None,
    data: DataOption = DATA,
    as_json: AsJson = False,  # noqa: FBT002 a flag
) -> None:
    """Make a workspace and print the token of its first admin key, which is told this once."""
    body: dict[str, Any] = {"name": name, "limits": _limits(jobs_per_day, open_jobs, spend_per_day, source_mb)}
    if undo_seconds is not None:
        body["undo_seconds"] = undo_seconds
    with connected_as_owner(data) as client:
        made = client.post("/v1/workspaces", body)
    if as_json:
        typer.echo(json.dumps(made))
    else:
        typer.echo(f"workspace {made['workspace']}\nkey       {made['token']}")


@app.command(name="list")
def list_(data: DataOption = DATA, as_json: AsJson = False) -> None:  # noqa: FBT002 a flag
    """List the workspaces of this installation."""
    with connected_as_owner(data) as client:
        workspaces = client.get("/v1/workspaces")
    if as_json:
        typer.echo(json.dumps(workspaces))
        return
    table = Table(Column("workspace", min_width=36), "name", "state", "limits", box=None)
    for one in workspaces:
        limits = ", ".join(f"{name} {value}" for name, value in one["limits"].items() if value is not None)
        table.add_row(one["workspace"], one["name"], one["state"], limits or "none")
    plain_console().print(table)


@app.command()
def limit(
    workspace: Annotated[str, typer.Argument(help="A workspace id.")],
    jobs_per_day: JobsADay = None,
    open_jobs: OpenJobs = None,
    spend_per_day: SpendADay = None,
    source_mb: SourceMb = None,
    undo_seconds: Undo = None,
    data: DataOption = DATA,
) -> None:
    """Set a workspace's limits; what is not given is without limit from now on."""
    body: dict[str, Any] = {"limits": _limits(jobs_per_day, open_jobs, spend_per_day, source_mb)}
    if undo_seconds is not None:
        body["undo_seconds"] = undo_seconds
    with connected_as_owner(data) as client:
        client.call("PATCH", f"/v1/workspaces/{workspace}", json=body)
    typer.echo(f"Workspace {workspace} has new limits.")


def _limits(
    jobs_per_day: int | None, open_jobs: int | None, spend_per_day: str | None, source_mb: int | None
) -> dict[str, Any]:
    if spend_per_day is not None:
        try:
            Decimal(spend_per_day)
        except ArithmeticError:
            raise Problem(f"{spend_per_day!r} is no amount.", remedy="Write it like 12.50.") from None
    return {
        "jobs_per_day": jobs_per_day,
        "max_open_jobs": open_jobs,
        "spend_per_day": spend_per_day,
        "source_bytes": source_mb and source_mb * 2**20,
    }
