"""`calotype jobs`: where everything is, as a list or as counts."""

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from deploy.cli.client import connected
from deploy.cli.options import DATA, AsJson, DataOption, WorkspaceOption
from deploy.cli.terminal import verbatim
from deploy.cli.trace import mark, name_of, state_of

Option = typer.Option


def jobs(
    batch: Annotated[str | None, Option(help="Only of this batch.")] = None,
    request: Annotated[str | None, Option(help="Only of this request.")] = None,
    campaign: Annotated[str | None, Option(help="Only of this campaign.")] = None,
    sku: Annotated[str | None, Option(help="Only of this product.")] = None,
    status: Annotated[list[str] | None, Option(help="pending, running, completed, approved, rejected, failed…")] = None,
    stage: Annotated[list[str] | None, Option(help="Where the job is: prompt, inference, postprocess…")] = None,
    waiting_on: Annotated[str | None, Option(help="worker, rate, cap, breaker, retry, base, embargo, review.")] = None,
    group: Annotated[str | None, Option(help="Counts by status, stage, batch, campaign or waiting_on.")] = None,
    limit: Annotated[int, Option(help="How many, newest request first.")] = 30,
    cursor: Annotated[str | None, Option(help="Go on after a page: its `next`.")] = None,
    data: DataOption = DATA,
    workspace: WorkspaceOption = None,
    as_json: AsJson = False,  # noqa: FBT002 a flag
) -> None:
    """List jobs with what each waits for, or count them."""
    with connected(data, workspace=workspace) as client:
        found = client.get(
            "/v1/jobs",
            batch=batch,
            request=request,
            campaign=campaign,
            sku=sku,
            status=status or None,
            stage=stage or None,
            waiting_on=waiting_on,
            group=group,
            limit=limit,
            cursor=cursor,
        )
    if as_json:
        typer.echo(json.dumps(found))
        return
    console = verbatim()
    if group is not None:
        console.print(_counts(group, found["groups"]))
        return
    console.print(_list(found["jobs"]) if found["jobs"] else Text("No job is like that.", "dim"))
    if found["next"]:
        console.print(Text(f"more: --cursor {found['next']}", "dim"))


def _list(found: Sequence[Mapping[str, Any]]) -> Table:
    table = Table("job", "what", "", "state", "why", box=None, header_style="dim", padding=(0, 2, 0, 0))
    table.columns[0].no_wrap = True
    for job in found:
        variant = f"v{job['variant']}" if job["variant"] else ""
        table.add_row(job["job_id"], name_of(job), variant, mark(state_of(job)), job["why"])
    return table


def _counts(group: str, groups: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(group, "jobs", "of these", box=None, header_style="dim", padding=(0, 2, 0, 0))
    table.columns[1].justify = "right"
    for row in groups:
        states = Text("   ").join(mark(status, f"{count} {status}") for status, count in row["statuses"].items())
        table.add_row(str(row["key"] or "–"), f"{row['jobs']:,}", states)
    return table
