"""`calotype uncertain …`: what may have happened outside and nobody knows: billed calls, and publications."""

import json
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from itertools import islice
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from deploy.cli.client import Client, connected
from deploy.cli.options import DATA, AsJson, DataOption, WorkspaceOption
from deploy.cli.terminal import plain_console
from deploy.errors import Problem

app = typer.Typer(
    help="What may have been billed or delivered, and nobody knows.", no_args_is_help=True, add_completion=False
)

PAGE = 500
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
BackendOption = Annotated[str | None, typer.Option(help="Only calls of this backend.")]
OlderOption = Annotated[str | None, typer.Option(metavar="AGE", help="Only what began so long ago: 90s, 15m, 2h, 7d.")]


@app.command(name="list")
def list_(
    backend: BackendOption = None,
    older: OlderOption = None,
    limit: Annotated[int, typer.Option(min=1, help="How many calls, oldest first.")] = 100,
    data: DataOption = DATA,
    workspace: WorkspaceOption = None,
    as_json: AsJson = False,  # noqa: FBT002 a flag
) -> None:
    """List calls that may have been billed and publications that may have arrived; nothing repeats them by itself."""
    with connected(data, workspace=workspace) as client:
        attempts = list(islice(_attempts(client, backend, older), limit))
        publications = [] if backend or older else _publications(client, limit)
    if as_json:
        typer.echo(json.dumps({"attempts": attempts, "publications": publications}))
        return
    console = plain_console()
    if not attempts and not publications:
        console.print(Text("Nothing is uncertain.", "dim"))
    if attempts:
        console.print(_calls(attempts))
        console.print(
            Text(
                "Ask the provider by attempt or id, then: calotype uncertain settle ATTEMPT --charged 0.04|none", "dim"
            )
        )
    if publications:
        console.print(_places(publications))
        console.print(
            Text("Look at the target, then: calotype uncertain settle PUBLICATION --delivered --note HOW", "dim")
        )


@app.command()
def settle(
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="[ID]...", help="Attempts or publications; or choose with options.")
    ] = None,
    charged: Annotated[
        str | None, typer.Option(metavar="AMOUNT|none", help="What the provider billed for each, in its own currency.")
    ] = None,
    delivered: Annotated[
        bool | None, typer.Option("--delivered/--not-delivered", help="Whether the target has these publications.")
    ] = None,
    backend: BackendOption = None,
    older: OlderOption = None,
    note: Annotated[str | None, typer.Option(help="How you know; publications need it.")] = None,
    data: DataOption = DATA,
    workspace: WorkspaceOption = None,
    as_json: AsJson = False,  # noqa: FBT002 a flag
) -> None:
    """Say what uncertain calls cost, or whether publications arrived; each is booked once, and stays as it was said.

    The jobs of such calls stay failed until `calotype retry`.
    """
    if (charged is None) == (delivered is None):
        raise Problem(
            "What became of them?",
            remedy="Say --charged of calls, or --delivered or --not-delivered of publications.",
        )
    with connected(data, workspace=workspace) as client:
        if delivered is not None:
            done = _settle_publications(client, ids or [], delivered=delivered, note=note)
        else:
            chosen = _chosen(client, ids or [], backend, older)
            done = _settle_attempts(client, chosen, charged=_amount(charged or ""), note=note)
    if as_json:
        typer.echo(json.dumps(done))
        return
    typer.echo(f"{len(done['settled'])} settled.")
    for known in done.get("already", []):
        cost = f"{known['cost']} {known['currency']}" if known["cost"] is not None else "an unknown cost"
        typer.echo(f"{known['attempt_id']} was known before: {known['state']}, {cost}; that stays")
    for unknown in done.get("unknown", []):
        typer.echo(f"{unknown} is no uncertain attempt here")


def _chosen(client: Client, ids: list[str], backend: str | None, older: str | None) -> list[str]:
    if bool(ids) == bool(backend or older):
        raise Problem(
            "Which attempts?",
            remedy="Name attempts of `calotype uncertain list`, or choose with --backend and --older.",
        )
    return ids or [found["attempt_id"] for found in _attempts(client, backend, older)]


def _settle_attempts(client: Client, ids: list[str], *, charged: str, note: str | None) -> dict[str, list[Any]]:
    done: dict[str, list[Any]] = {"settled": [], "already": [], "unknown": []}
    for first in range(0, len(ids), PAGE):
        page = {"attempts": ids[first : first + PAGE], "charged": charged, "note": note}
        for name, found in client.post("/v1/uncertain/settle", page).items():
            done[name] += found
    return done


def _settle_publications(client: Client, ids: list[str], *, delivered: bool, note: str | None) -> dict[str, list[Any]]:
    if not ids or not note:
        raise Problem("Which publications, and how do you know?", remedy="Name them, and say it with --note.")
    statement = {"delivered": delivered, "note": note}
    return {"settled": [client.post(f"/v1/publications/{each}/settle", statement) for each in ids]}


def _attempts(client: Client, backend: str | None, older: str | None) -> Iterator[Mapping[str, Any]]:
    """Page after page."""
    after = None
    seconds = None if older is None else _seconds(older)
    while True:
        page = client.get("/v1/uncertain", backend=backend, older=seconds, after=after, limit=PAGE)
        yield from page["attempts"]
        after = page["next"]
        if after is None:
            return


def _publications(client: Client, limit: int) -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = client.get("/v1/publications", state="uncertain", limit=min(limit, PAGE))[
        "publications"
    ]
    return found


def _calls(attempts: list[Mapping[str, Any]]) -> Table:
    table = Table(
        *("attempt", "began (UTC)", "backend", "job", "provider's id", "why"),
        box=None, header_style="dim", padding=(0, 2, 0, 0),
    )  # fmt: skip
    for attempt in attempts:
        table.add_row(
            attempt["attempt_id"],
            str(attempt["started_at"])[:19].replace("T", " "),
            attempt["backend"],
            attempt["job_id"] or f"none: a replay of {attempt['asset_id']}",
            attempt["provider_request_id"] or "none came",
            _why(attempt),
        )
    return table


def _why(attempt: Mapping[str, Any]) -> str:
    called_for = attempt.get("latency_seconds")  # absent from an older release
    return (attempt["reason"] or "") + (f" after {called_for:.1f} s" if called_for is not None else "")


def _places(publications: list[Mapping[str, Any]]) -> Table:
    table = Table("publication", "target", "job", "why", "do", box=None, header_style="dim", padding=(0, 2, 0, 0))
    for found in publications:
        table.add_row(
            found["publication_id"], found["target"], found["job_id"], found["detail"] or "", found["remedy"] or ""
        )
    return table


def _seconds(age: str) -> int:
    match = re.fullmatch(r"(\d{1,9})([smhd]?)", age)
    if match is None:
        raise Problem(f"--older does not understand {age!r}.", remedy="Write 90s, 15m, 2h or 7d.")
    return int(match[1]) * UNITS.get(match[2], 1)


def _amount(charged: str) -> str:
    try:
        if charged == "none" or Decimal(charged) > 0:
            return charged
    except InvalidOperation:
        pass
    raise Problem(f"--charged does not understand {charged!r}.", remedy="Write an amount like 0.04, or none.")
