"""`calotype trace ID`: the whole life of anything that has an id, from the ledger."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from deploy.cli.client import connected
from deploy.cli.options import DATA, AnyId, AsJson, DataOption, WorkspaceOption
from deploy.cli.terminal import verbatim

JOBS_SHOWN = 8  # of a request or batch; the rest is one line each, and every job can be asked for by itself
MARKS = {
    "pending": ("○", "dim"),
    "waiting": ("◌", "yellow"),
    "running": ("◐", "blue"),
    "completed": ("■", "default"),
    "approved": ("✓", "green"),
    "rejected": ("✕", "red"),
    "failed": ("▲", "red"),
    "cancelled": ("–", "dim"),
}
# What a fact makes of its job: the glyph it gets. Any other fact only happens.
MEANS = {
    "ImageGenerated": "running",
    "ImageProcessed": "completed",
    "ReviewNeeded": "waiting",
    "AssetApproved": "approved",
    "AssetPublished": "approved",
    "AssetRejected": "rejected",
    "RequestRejected": "rejected",
    "JobFailed": "failed",
    "PublicationFailed": "failed",
    "JobCancelled": "cancelled",
}


def trace(
    any_id: AnyId,
    data: DataOption = DATA,
    workspace: WorkspaceOption = None,
    as_json: AsJson = False,  # noqa: FBT002 a flag
) -> None:
    """Tell the whole life of what an id names: every fact, causes before effects."""
    with connected(data, workspace=workspace) as client:
        life = client.get(f"/v1/trace/{any_id}")
    if as_json:
        typer.echo(json.dumps(life))
        return
    verbatim().print(drawn(life))


def drawn(life: Mapping[str, Any]) -> RenderableType:
    """A life as `GET /v1/trace/{id}` tells it, for a terminal."""
    jobs = {job["job_id"]: job for job in life["jobs"]}
    begins = _at(life["facts"][0]) if life["facts"] else None
    parts: list[RenderableType] = [_head(life), Text()]
    own = [fact for fact in life["facts"] if fact["job_id"] not in jobs]
    if len(jobs) == 1:
        parts.append(_facts(life["facts"], begins))
    elif own:
        parts.append(_facts(own, begins))
    for place, (job_id, job) in enumerate(jobs.items() if len(jobs) > 1 else ()):
        parts += [Text(), _job(job)] if place < JOBS_SHOWN else [_job(job)]
        if place < JOBS_SHOWN:
            parts.append(_facts([fact for fact in life["facts"] if fact["job_id"] == job_id], begins))
    parts += list(_letters(life["dead_letters"]))
    if life["requests_left_out"]:
        parts.append(Text(f"\n{life['requests_left_out']} more requests: ask for one by its id", "dim"))
    return Group(*parts)


def mark(status: str, words: str | None = None) -> Text:
    """A state as it is shown everywhere: glyph, word, colour."""
    glyph, style = MARKS.get(status, ("·", "dim"))
    return Text(f"{glyph} {words or status}", style)


def name_of(job: Mapping[str, Any]) -> str:
    """What the job makes, in words."""
    what = job["product"] or ", ".join(job["skus"] or ()) or "a job"
    kind = f", {job['asset_type']}" if job["asset_type"] else ""
    return f"{what}{kind}"


def state_of(job: Mapping[str, Any]) -> str:
    """A pending job that waits for something named is not just pending."""
    return "waiting" if job["status"] == "pending" and job["waiting_on"] else str(job["status"])


def _head(life: Mapping[str, Any]) -> RenderableType:
    jobs = life["jobs"]
    title = Text()
    if len(jobs) == 1:
        title.append(name_of(jobs[0]), "bold").append("   ").append_text(mark(state_of(jobs[0])))
    else:
        title.append(f"{life['kind']} of {len(jobs)} jobs", "bold")
        for status, found in groupby(sorted(state_of(job) for job in jobs)):
            title.append("   ").append_text(mark(status, f"{len(list(found))} {status}"))
    lines: list[RenderableType] = [title, Text.assemble((f"{life['kind']} ", "dim"), life["id"])]
    if len(jobs) == 1:
        job = jobs[0]
        names = [("request", job["request_id"]), ("job", job["job_id"]), ("asset", job["asset_id"])]
        names.append(("more like", job.get("parent_asset_id")))
        names += [("and more like it", child["asset_id"] or child["job_id"]) for child in job.get("children", ())]
        lines += [Text.assemble((f"{name} ", "dim"), found) for name, found in names if found and found != life["id"]]
    lines += [Text.assemble(("trace ", "dim"), found) for found in life["trace_ids"][:3]]
    if len(jobs) == 1:
        lines.append(Text(jobs[0]["why"], "italic"))
        if jobs[0].get("route"):
            lines.append(route_of(jobs[0]["route"]))
    return Group(*lines)


def decision_table() -> Table:
    """What a line of a routing decision is, the backend, and why."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    return table


def route_of(route: Mapping[str, Any]) -> Table:
    """Where a job was sent, and every other backend with its reason."""
    table = decision_table()
    by = f" ({route['table']})" if route["table"] else ""
    if route["backend"]:
        table.add_row("route", route["backend"], f"{route['reason']}{by}")
    else:
        table.add_row("route", "none", f"no backend may take it{by}")
    for name, reason in route["refused"].items():
        table.add_row("not", name, reason)
    return table


def _job(job: Mapping[str, Any]) -> RenderableType:
    of = f" · variant {job['variant']}" if job["variant"] else ""
    line = Text.assemble((name_of(job), "bold"), of, "   ").append_text(mark(state_of(job)))
    return Group(line, Text.assemble((f"  {job['job_id']}  ", "dim"), (job["why"], "italic")))


def _facts(facts: Sequence[Mapping[str, Any]], begins: datetime | None) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(justify="right", style="dim", no_wrap=True)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for fact in facts:
        at = _at(fact)
        when = f"{at:%H:%M:%S}" if begins is None or at == begins else after((at - begins).total_seconds())
        means = MEANS.get(fact["type"])
        glyph = mark(means, spoken(fact["type"])) if means else Text(f"  {spoken(fact['type'])}")
        table.add_row(when, fact["stage"], glyph, fact["words"])
    return table


def _letters(letters: Sequence[Mapping[str, Any]]) -> Iterator[RenderableType]:
    for letter in letters:
        ended = f"{letter['state']} by {letter['ended_by']}" if letter["ended_by"] else "open"
        yield Text.assemble(
            "\n",
            mark("failed", f"refused by {letter['consumer_group']}"),
            f"  {letter['reason']}: {letter['detail']}\n",
            (f"  {ended}   calotype dlq show {letter['dead_letter_id']}", "dim"),
        )


def _at(fact: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(fact["at"])


def spoken(kind: str) -> str:
    """`ImageGenerated` as words."""
    return re.sub(r"(?<=.)([A-Z])", r" \1", kind).lower()


def after(seconds: float) -> str:
    """How long after the beginning, in the unit a person would use."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"+{seconds / size:.1f} {unit}"
    return f"+{seconds:.2f} s"
