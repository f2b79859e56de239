"""`calotype queue`: what waits and what runs, in every stage; who works on it; what holds it up."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import typer
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from deploy.cli.brakes import braked
from deploy.cli.client import connected, of_stages
from deploy.cli.options import DATA, AsJson, DataOption, WorkspaceOption
from deploy.cli.terminal import plain_console
from deploy.errors import Problem

STAGES = ("intake", "inference", "postprocess", "publisher")


def queue(
    data: DataOption = DATA,
    workspace: WorkspaceOption = None,
    as_json: AsJson = False,  # noqa: FBT002 a flag
) -> None:
    """Show what waits and what runs, per stage, lane and kind, with ages, workers, and what holds work back."""
    with connected(data, workspace=workspace) as client:
        answers = of_stages(client, STAGES, "queue")
        if (inference := answers["inference"]) is not None:
            inference.update(client.get("/v1/queue"))  # which knows more of its own: caps, limits, providers
    found = [answer for answer in answers.values() if answer is not None]
    silent = [stage for stage, answer in answers.items() if answer is None]
    if as_json:
        typer.echo(json.dumps({"stages": found, "silent": silent}))
    else:
        console = plain_console()
        for part in drawn(found):
            console.print(part)
    if silent:
        raise Problem(f"No answer came from {', '.join(silent)}.", remedy="See `calotype status`, ask again.")


def drawn(stages: Sequence[Mapping[str, Any]]) -> list[RenderableType]:
    lines = [(stage["stage"], line) for stage in stages for line in stage["lines"]]
    if not lines:
        return [Text("Nothing waits and nothing runs.", "dim"), *_brakes(stages)]
    table = Table("stage", "lane", "kind", box=None, header_style="dim", padding=(0, 2, 0, 0))
    for name in ("running", "waiting", "later", "held", "oldest"):
        table.add_column(name, justify="right")
    for stage, line in lines:
        counts = [f"{line[name]:,}" if line[name] else "–" for name in ("running", "waiting", "delayed", "held")]
        table.add_row(stage, line["lane"], line["kind"], *counts, age(line["oldest_seconds"]))
    return [table, *_workers(stages), *_away(stages), *_held_back(stages), *_brakes(stages)]


def _workers(stages: Sequence[Mapping[str, Any]]) -> list[RenderableType]:
    workers = [worker for stage in stages for worker in stage["workers"]]
    if not workers:
        return []
    table = Table("worker", box=None, header_style="dim", padding=(0, 2, 0, 0))
    for name in ("leases", "run out", "oldest work"):
        table.add_column(name, justify="right")
    for worker in workers:
        lost = Text(f"{worker['run_out']}", "bold red") if worker["run_out"] else Text("–")
        table.add_row(worker["worker"], f"{worker['leases']}", lost, age(worker["oldest_seconds"]))
    return [Text(), table]


def _away(stages: Sequence[Mapping[str, Any]]) -> list[RenderableType]:
    """Providers that take no calls: what waits for them is asked for again by itself."""
    found: list[RenderableType] = []
    for account in [each for stage in stages for each in stage.get("away", [])]:
        why = "asked for patience" if account["busy"] else "takes no calls"
        since, again = clock(account["since"]), clock(account["next_try_at"])
        found.append(Text(f"{account['account']} {why} since {since}; it is asked again at {again}", "yellow"))
    return [Text(), *found] if found else []


def _held_back(stages: Sequence[Mapping[str, Any]]) -> list[RenderableType]:
    """What waits for something else than its turn; providers that are away stand above."""
    found: list[RenderableType] = [
        Text(f"{each['backend']}, {each['lane']} lane: {held_by(each)}", "yellow")
        for stage in stages
        for each in stage.get("held_back", [])
        if each["waiting_on"] != "breaker"
    ]
    for spend in [stage["spend"] for stage in stages if stage.get("spend")]:
        gone = [f"{one['settled']} {one['currency']} and {one['reserved']} set aside" for one in spend["spent"]]
        found.append(
            Text(f"of {spend['cap']} a day, in any one currency, today has cost {', '.join(gone) or 'nothing'}")
        )
    return [Text(), *found] if found else []


def held_by(held: Mapping[str, Any]) -> str:
    """What holds something, since when, until when if that is known, and what helps."""
    parts = [f"{held['who']}, since {clock(held['since'])}"]
    if held["until"]:
        parts.append(f"until {clock(held['until'])}")
    words = ", ".join(parts)
    return f"{words}; {held['remedy']}" if held["remedy"] else words


def clock(moment: str) -> str:
    return f"{datetime.fromisoformat(moment):%H:%M:%S} UTC"


def _brakes(stages: Sequence[Mapping[str, Any]]) -> list[RenderableType]:
    brakes = [brake for stage in stages for brake in stage["brakes"]]
    return [Text(), braked(brakes)] if brakes else []


def age(seconds: float | None) -> str:
    """As a person says it: 12 s, 7 min, 3 h, 2 d."""
    if seconds is None:
        return "–"
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
