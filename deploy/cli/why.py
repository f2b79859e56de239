"""`calotype why ID`: the cause, who owns it, when it moves, and the one command."""

import contextlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from deploy.cli.client import Client, connected, of_stages
from deploy.cli.options import DATA, AnyId, AsJson, DataOption, WorkspaceOption
from deploy.cli.queue import age
from deploy.cli.terminal import verbatim
from deploy.cli.trace import mark, route_of
from deploy.errors import Problem

WORKING = ("inference", "postprocess", "publisher")
MOST_REQUESTS = 100  # of a batch: what one call asks a stage for
OWNERS = {
    "cap": "whoever sets the cap",
    "rate": "the backend's limit",
    "breaker": "the provider",
    "worker": "an operator",
}
SAME = ("status", "cause", "owner", "moves")  # with one cause comes one route


def why(
    any_id: AnyId,
    data: DataOption = DATA,
    workspace: WorkspaceOption = None,
    as_json: AsJson = False,  # noqa: FBT002 a flag
) -> None:
    """Say why something stands where it stands: cause, owner, when it moves, the one command."""
    with connected(data, workspace=workspace) as client:
        found = client.get(f"/v1/why/{any_id}")
        _ask_stages(client, found["jobs"])
    if as_json:
        typer.echo(json.dumps(found))
        return
    verbatim().print(drawn(found), crop=False)


def _ask_stages(client: Client, jobs: Sequence[dict[str, Any]]) -> None:
    """A brake is known only to the stage that holds the job: what stands behind one says so."""
    for stage in WORKING:
        held_here = {job["job_id"]: job for job in jobs if _holder(job) == stage}
        requests = list({job["request_id"] for job in held_here.values()})[:MOST_REQUESTS]
        if not requests:
            continue
        standings = of_stages(client, [stage], "work", {"request": requests})[stage]
        for standing in standings or ():
            job = held_here.get(standing["job_id"])
            if job is not None and standing["brake"] is not None:
                job.update(held(standing["brake"]))
    _ask_queue(client, jobs)


def _ask_queue(client: Client, jobs: Sequence[dict[str, Any]]) -> None:
    """Whatever else a job waits for before it is begun, its turn included, inference's queue knows."""
    waiting = {job["job_id"]: job for job in jobs if _holder(job) == "inference"}
    requests = list({job["request_id"] for job in waiting.values()})[:MOST_REQUESTS]
    if not requests:
        return
    with contextlib.suppress(Problem):  # what the catalog knows is said all the same
        for place in client.get("/v1/queue/jobs", request=requests):
            if (job := waiting.get(place["job_id"])) is not None:
                job.update(waits(place))


def waits(place: Mapping[str, Any]) -> dict[str, Any]:
    """What is said of a job that waits in inference's queue."""
    held_by = place["held"]
    if held_by is not None:
        until = (
            held_by["until"] and f"at {datetime.fromisoformat(held_by['until']):%Y-%m-%d %H:%M:%S} UTC at the latest"
        )
        return {
            "waiting_on": held_by["waiting_on"],
            "cause": f"held: {held_by['who']}",
            "owner": OWNERS.get(held_by["waiting_on"], "the pipeline"),
            "moves": "; ".join(filter(None, [until, held_by["remedy"]])) or "as soon as there is room",
            "command": "calotype queue",
            "since": held_by["since"],
            "runbook": "docs/runbook.md#held-back",
        }
    if place["position"] is None:
        return {"waiting_on": "worker", "cause": "waits its turn, behind more than a thousand others"}
    starts = place["starts_in_seconds"]
    return {
        "waiting_on": "worker",
        "cause": f"waits its turn, as number {place['position']} in its lane",
        "moves": "when a worker takes it" if starts is None else f"in about {age(starts)}",
    }


def _holder(job: Mapping[str, Any]) -> str | None:
    """The stage that something of the job may wait in."""
    if job["status"] in {"pending", "running"}:
        return str(job["stage"])
    return "publisher" if job["status"] == "approved" and job["moves"] else None


def held(brake: Mapping[str, Any]) -> dict[str, Any]:
    """What is said of a job that stands behind a brake."""
    since = datetime.fromisoformat(brake["since"])
    done = {"pause": "paused", "drain": "drained"}[brake["mode"]]
    whose = "everyone's " if brake["everyone"] else ""
    name = f"{brake['kind']} {brake['name']}"
    return {
        "waiting_on": "brake",
        "cause": f"{whose}{name} {done} by {brake['by']} at {since:%H:%M:%S} UTC because {brake['reason']}",
        "owner": brake["by"],
        "moves": f"when {name} is resumed",
        "command": f"calotype resume {name}{' --everyone' if brake['everyone'] else ''}",
        "since": brake["since"],
        "runbook": "docs/runbook.md#held-by-a-brake",
    }


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
    if job.get("route"):
        parts.append(route_of(job["route"]))
    if job["command"]:
        others = "" if len({one["command"] for one in jobs}) == 1 else "   (and so for each)"
        # One line whatever the width: it is there to be copied.
        line = Text.assemble(("try    ", "dim"), (job["command"], "bold"), (others, "dim"))
        line.no_wrap, line.overflow = True, "ignore"
        parts.append(line)
    if job.get("runbook"):
        parts.append(Text.assemble(("read   ", "dim"), job["runbook"]))
    return Group(*parts)


def _since(jobs: Sequence[Mapping[str, Any]]) -> str | None:
    times = sorted(datetime.fromisoformat(job["since"]) for job in jobs if job["since"])
    if not times:
        return None
    first, last = (f"{at:%H:%M:%S}" for at in (times[0], times[-1]))
    return f"{first} UTC" if first == last else f"{first} to {last} UTC"
