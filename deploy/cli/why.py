"""`calotype why ID`: the cause, who owns it, when it moves, and the one command."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from deploy.cli.client import connected
from deploy.cli.options import DATA, AsJson, DataOption, WorkspaceOption
from deploy.cli.trace import mark

SAME = ("status", "cause", "owner", "moves")


def why(
    any_id: Annotated[
        str, typer.Argument(metavar="ID", help="A request, batch, job, asset, file, publication, event…")
    ],
    data: DataOption = DATA,
    workspace: WorkspaceOption = None,
    as_json: AsJson = False,  # noqa: FBT002 a flag
) -> None:
    """Say why something stands where it stands: cause, owner, when it moves, the one command."""
    with connected(data, workspace=workspace) as client:
        found = client.get(f"/v1/why/{any_id}")
    if as_json:
        typer.echo(json.dumps(found))
        return
    Console(highlight=False).print(drawn(found), crop=False)


def drawn(found: Mapping[str, Any]) -> RenderableType:
    """What `GET /v1/why/{id}` answers, for a terminal: jobs of one cause stand together."""
    if not found["jobs"]:
        return Text(f"This {found['kind']} has no jobs yet.", "dim")
    parts: list[RenderableType] = []
    for place, jobs in enumerate(together(found["jobs"])):
        parts += [Text(), _cause(jobs)] if place else [_cause(jobs)]
    if found["jobs_left_out"]:
        parts.append(Text(f"\n{found['jobs_left_out']} more requests: ask for one by its id", "dim"))
    return Group(*parts)


def together(jobs: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """Jobs by what is said of them, the most first."""
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for job in jobs:
        groups.setdefault(tuple(job[name] for name in SAME), []).append(job)
    return sorted(groups.values(), key=len, reverse=True)


def _cause(jobs: Sequence[Mapping[str, Any]]) -> RenderableType:
    job = jobs[0]
    what = f"{job['product'] or 'a job'}, variant {job['variant']}" if len(jobs) == 1 else f"{len(jobs)} jobs"
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, words in (("cause", job["cause"]), ("since", _since(jobs)), ("owner", job["owner"])):
        if words:
            table.add_row(name, words)
    table.add_row("moves", job["moves"] or "no more")
    parts: list[RenderableType] = [Text.assemble(mark(job["status"]), "   ", (what, "bold")), table]
    if job["command"]:
        others = "" if len({one["command"] for one in jobs}) == 1 else "   (and so for each)"
        # One line whatever the width: it is there to be copied.
        line = Text.assemble(("try    ", "dim"), (job["command"], "bold"), (others, "dim"))
        line.no_wrap, line.overflow = True, "ignore"
        parts.append(line)
    return Group(*parts)


def _since(jobs: Sequence[Mapping[str, Any]]) -> str | None:
    times = sorted(datetime.fromisoformat(job["since"]) for job in jobs if job["since"])
    if not times:
        return None
    first, last = (f"{at:%H:%M:%S}" for at in (times[0], times[-1]))
    return f"{first} UTC" if first == last else f"{first} to {last} UTC"
