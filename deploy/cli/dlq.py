"""`calotype dlq …`: what consumers refused. Every one ends replayed or dropped."""

import json
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from deploy.cli.client import connected
from deploy.cli.options import DATA, AsJson, DataOption, WorkspaceOption
from deploy.cli.terminal import verbatim
from deploy.cli.trace import mark

app = typer.Typer(help="Records that consumers refused.", no_args_is_help=True, add_completion=False)

Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Which; or choose with the options.")]
Topic = Annotated[str | None, typer.Option(help="All open ones of this topic.")]
GroupOption = Annotated[str | None, typer.Option(help="All open ones that this consumer group refused.")]
Every = Annotated[bool, typer.Option("--every", help="All open ones.")]
STATES = {"waiting": "waiting", "replaying": "running", "replayed": "approved", "dropped": "cancelled"}


@app.command(name="list")
def list_(
    topic: Annotated[str | None, typer.Option(help="Only of this topic.")] = None,
    group: Annotated[str | None, typer.Option(help="Only what this consumer group refused.")] = None,
    state: Annotated[list[str] | None, typer.Option(help="waiting, replaying, replayed, dropped.")] = None,
    limit: Annotated[int, typer.Option(help="How many, oldest first.")] = 100,
    data: DataOption = DATA,
    workspace: WorkspaceOption = None,
    as_json: AsJson = False,  # noqa: FBT002 a flag
) -> None:
    """List what was refused and is still open; with --state also what has ended, and by whom."""
    with connected(data, workspace=workspace) as client:
        found = client.get("/v1/dead-letters", topic=topic, group=group, state=state or None, limit=limit)
    if as_json:
        typer.echo(json.dumps(found))
        return
    console = verbatim()
    if not found["dead_letters"]:
        console.print(Text("Nothing was refused.", "dim"))
        return
    table = Table(
        "dead letter", "state", "refused by", "topic", "why", box=None, header_style="dim", padding=(0, 2, 0, 0)
    )
    for letter in found["dead_letters"]:
        by = f" by {letter['ended_by']}" if letter["ended_by"] else ""
        table.add_row(
            letter["dead_letter_id"],
            mark(STATES[letter["state"]], f"{letter['state']}{by}"),
            letter["consumer_group"],
            letter["topic"],
            f"{letter['reason']}: {letter['detail'][:160]}",
        )
    console.print(table)
    if found["next"]:
        console.print(Text("There are more: narrow with --topic or --group, or ask for --limit 500.", "dim"))


@app.command()
def show(
    dead_letter: Annotated[str, typer.Argument(metavar="ID", help="The id in `calotype dlq list`.")],
    data: DataOption = DATA,
    workspace: WorkspaceOption = None,
    as_json: AsJson = False,  # noqa: FBT002 a flag
) -> None:
    """Show one with its record: key, headers and value as they were."""
    with connected(data, workspace=workspace) as client:
        letter = client.get(f"/v1/dead-letters/{dead_letter}")
    if as_json:
        typer.echo(json.dumps(letter))
        return
    console = verbatim()
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name in ("state", "consumer_group", "topic", "origin", "died_at", "reason", "detail", "ended_by", "ended_at"):
        if letter[name]:
            table.add_row(name.replace("_", " "), str(letter[name]))
    for name, value in letter["headers"].items():
        table.add_row(f"header {name}", _text(value))
    table.add_row("key", _text(letter["key"]))
    console.print(table)
    console.print(Text("value", "dim"))
    console.print(Text(_pretty(letter["value"])))


@app.command()
def replay(
    ids: Ids = None,
    topic: Topic = None,
    group: GroupOption = None,
    every: Every = False,  # noqa: FBT002 a flag
    data: DataOption = DATA,
    workspace: WorkspaceOption = None,
    as_json: AsJson = False,  # noqa: FBT002 a flag
) -> None:
    """Send refused records again, each to the group that refused it."""
    with connected(data, workspace=workspace) as client:
        done = client.post("/v1/dead-letters/replay", _which(ids, topic, group, every=every))
    typer.echo(json.dumps(done) if as_json else f"{done['replayed']} replayed.")


@app.command()
def drop(
    ids: Ids = None,
    topic: Topic = None,
    group: GroupOption = None,
    every: Every = False,  # noqa: FBT002 a flag
    note: Annotated[str | None, typer.Option(help="Why, for whoever looks later.")] = None,
    data: DataOption = DATA,
    workspace: WorkspaceOption = None,
    as_json: AsJson = False,  # noqa: FBT002 a flag
) -> None:
    """Give refused records up; a job, or a new version of an asset, that waited for one of them fails."""
    with connected(data, workspace=workspace) as client:
        done = client.post("/v1/dead-letters/drop", _which(ids, topic, group, every=every) | {"note": note})
    if as_json:
        typer.echo(json.dumps(done))
        return
    typer.echo(f"{done['dropped']} dropped.")
    for job in done["failed_jobs"]:
        typer.echo(f"job {job} failed with it")
    for asset in done["failed_reruns"]:
        typer.echo(f"the new version of asset {asset} failed with it; the one before stays")


@app.command()
def resume(
    group: Annotated[str, typer.Argument(help="The consumer group that stopped; `calotype status` names it.")],
    data: DataOption = DATA,
    workspace: WorkspaceOption = None,
    as_json: AsJson = False,  # noqa: FBT002 a flag
) -> None:
    """Take up a consumer that stopped because too many records were bad."""
    with connected(data, workspace=workspace) as client:
        granted = client.post("/v1/dead-letters/resume", {"group": group})
        done = client.post(granted["resume_at"], headers={"Authorization": f"Grant {granted['grant']}"})
    if as_json:
        typer.echo(json.dumps(done))
        return
    typer.echo(f"{group} goes on." if done["resumed"] else f"{group} had not stopped.")


def _which(ids: list[str] | None, topic: str | None, group: str | None, *, every: bool) -> dict[str, Any]:
    return {"ids": ids or [], "topic": topic, "group": group, "every": every}


def _text(value: Any) -> str:
    return f"base64 {value['base64']}" if isinstance(value, dict) else str(value)


def _pretty(value: Any) -> str:
    """JSON laid out, where it is JSON; else the bytes as they can be shown."""
    if not isinstance(value, str):
        return _text(value)
    try:
        return json.dumps(json.loads(value), indent=2, ensure_ascii=False)
    except ValueError:
        return value
