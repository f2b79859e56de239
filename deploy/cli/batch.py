"""`calotype batch …`: look through a file, send it, see what became of it."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Column, Table

from deploy.cli.client import Client, connected
from deploy.cli.options import DATA, AsJson, DataOption, WorkspaceOption
from deploy.cli.terminal import plain_console
from deploy.errors import Problem

app = typer.Typer(help="Files of requests.", no_args_is_help=True, add_completion=False)

MEDIA_TYPES = {".csv": "text/csv", ".tsv": "text/csv", ".jsonl": "application/jsonl", ".ndjson": "application/jsonl"}
POLL_SECONDS = 0.2
SHOWN_FAULTS = 20

File = Annotated[Path, typer.Argument(help="A .csv or .jsonl file.", exists=True, dir_okay=False)]
Campaign = Annotated[str | None, typer.Option(help="The campaign of rows that name none.")]
Name = Annotated[str | None, typer.Option(help="The batch's name; default: its campaign.")]
Errors = Annotated[Path, typer.Option(help="Where to write the refused rows with problem, column and fix.")]
BatchId = Annotated[str, typer.Argument(metavar="BATCH", help="A batch id.")]


@app.command()
def preview(
    file: File,
    campaign: Campaign = None,
    name: Name = None,
    errors: Errors = Path("errors.csv"),
    data: DataOption = DATA,
    workspace: WorkspaceOption = None,
    as_json: AsJson = False,  # noqa: FBT002 a flag
) -> None:
    """Say what sending the file would do, without sending it; exit 1 if a row would be refused."""
    with connected(data, workspace=workspace) as client:
        told = _send(client, "/v1/batches/preview", file, campaign=campaign, name=name).json()
        if told["refused"]:
            report = _send(client, "/v1/batches/preview", file, campaign=campaign, name=name, accept="text/csv")
            errors.write_bytes(report.content)
    if as_json:
        typer.echo(json.dumps(told))
    else:
        console = plain_console()
        unchanged = f", of these {told['unchanged']} made before" if told["unchanged"] else ""
        console.print(f"{told['rows']} rows: {told['good']} good{unchanged}, {told['refused']} refused")
        kinds = ", ".join(f"{jobs} {kind}" for kind, jobs in told["jobs_by_asset_type"].items())
        console.print(f"{told['jobs']} jobs{f' ({kinds})' if kinds else ''}")
        if told["refused"]:
            console.print(_faults(told["faults"]))
            console.print(f"The refused rows are in {errors}: repair them there and send that file.")
    if told["refused"]:
        raise typer.Exit(1)


@app.command()
def send(
    file: File,
    campaign: Campaign = None,
    name: Name = None,
    errors: Errors = Path("errors.csv"),
    data: DataOption = DATA,
    workspace: WorkspaceOption = None,
    as_json: AsJson = False,  # noqa: FBT002 a flag
) -> None:
    """Send the file and wait until it was read; exit 1 if a row was refused."""
    with connected(data, workspace=workspace) as client:
        told = expanded(client, send_file(client, file, campaign=campaign, name=name))
        if told["refused"]:
            errors.write_bytes(client.send("GET", f"/v1/batches/{told['batch_id']}/errors.csv").content)
        if as_json:
            typer.echo(json.dumps(told))
        else:
            tell_batch(client, told, plain_console())
            if told["refused"]:
                typer.echo(f"The refused rows are in {errors}: repair them there and send that file.")
    if told["refused"]:
        raise typer.Exit(1)


@app.command()
def show(
    batch: BatchId,
    data: DataOption = DATA,
    workspace: WorkspaceOption = None,
    as_json: AsJson = False,  # noqa: FBT002 a flag
) -> None:
    """Say what became of the file sent last."""
    with connected(data, workspace=workspace) as client:
        told = client.get(f"/v1/batches/{batch}")
        if as_json:
            typer.echo(json.dumps(told))
        else:
            tell_batch(client, told, plain_console())


@app.command(name="list")
def list_(
    data: DataOption = DATA,
    workspace: WorkspaceOption = None,
    as_json: AsJson = False,  # noqa: FBT002 a flag
) -> None:
    """List batches, the newest first."""
    with connected(data, workspace=workspace) as client:
        batches = client.get("/v1/batches")
    if as_json:
        typer.echo(json.dumps(batches))
        return
    table = Table(
        Column("batch", min_width=36), "name", "state", "rows", "accepted", "unchanged", "refused", "jobs", box=None
    )
    for one in batches:
        counts = (str(one[name]) for name in ("rows", "accepted", "unchanged", "refused", "jobs"))
        table.add_row(one["batch_id"], one["name"], one["state"], *counts)
    plain_console().print(table)


@app.command()
def cancel(
    batch: BatchId,
    reason: Annotated[str | None, typer.Option(help="Why, for whoever asks later.")] = None,
    data: DataOption = DATA,
    workspace: WorkspaceOption = None,
) -> None:
    """Stop reading the file, and ask for an end of every job it has made."""
    with connected(data, workspace=workspace) as client:
        client.post(f"/v1/batches/{batch}/cancel", {"reason": reason})
    typer.echo(f"Asked for an end of batch {batch}.")


def send_file(client: Client, file: Path, *, campaign: str | None, name: str | None) -> dict[str, Any]:
    return dict(_send(client, "/v1/batches", file, campaign=campaign, name=name).json())


def expanded(client: Client, sent: Mapping[str, Any]) -> dict[str, Any]:
    """The batch, once its file was read to the end."""
    while True:
        batch = dict(client.get(f"/v1/batches/{sent['batch_id']}"))
        if batch["state"] not in {"expanding", "cancelling"}:
            return batch
        time.sleep(POLL_SECONDS)


def tell_batch(client: Client, batch: Mapping[str, Any], console: Console) -> None:
    """What a person wants to know of a batch: counts, and each refused row with what to do."""
    counts = [f"{batch[name]} {name}" for name in ("accepted", "unchanged", "refused") if batch[name]]
    console.print(
        f"Batch {batch['batch_id']} ({batch['name']}): {batch['state']}; "
        f"{batch['rows']} rows, {', '.join(counts) or 'none read yet'}; {batch['jobs']} jobs",
        soft_wrap=True,
    )
    if batch["detail"]:
        console.print(f"  {batch['detail']}")
    shown, after = 0, 0
    while batch["refused"] and shown < SHOWN_FAULTS:
        page = client.get(f"/v1/batches/{batch['batch_id']}/rows", after=after, limit=1000)
        for row in [row for row in page["rows"] if row["problems"]][: SHOWN_FAULTS - shown]:
            shown += 1
            first = row["problems"][0]
            console.print(
                f"  line {row['line']}, {row['key'] or 'no key'}: {first['what']} → {first['remedy']}", soft_wrap=True
            )
        if page["next_after"] is None:
            break
        after = page["next_after"]
    if batch["refused"] > shown:
        console.print(f"  … and {batch['refused'] - shown} more")


def _send(
    client: Client, path: str, file: Path, *, campaign: str | None, name: str | None, accept: str | None = None
) -> Any:
    media_type = MEDIA_TYPES.get(file.suffix.lower())
    if media_type is None:
        raise Problem(f"{file} is no batch file.", remedy=f"Its name has to end in one of: {', '.join(MEDIA_TYPES)}.")
    query = {key: value for key, value in (("campaign", campaign), ("name", name)) if value}
    headers = {"Content-Type": media_type} | ({"Accept": accept} if accept else {})
    with file.open("rb") as content:
        answer = client.send("POST", path, params=query, headers=headers, content=content)
    if not answer.is_success:
        client.checked(answer)
    return answer


def _faults(faults: list[dict[str, Any]]) -> Table:
    table = Table("rows", "column", "problem", "fix", "lines", box=None)
    for fault in faults[:SHOWN_FAULTS]:
        lines = ", ".join(map(str, fault["lines"])) + (" …" if fault["count"] > len(fault["lines"]) else "")
        table.add_row(str(fault["count"]), fault["column"], fault["what"], fault["remedy"], lines)
    return table
