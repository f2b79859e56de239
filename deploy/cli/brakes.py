"""`calotype brakes`, and what `pause`, `drain` and `resume` share: behind a brake nothing new starts."""

import json
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from deploy.cli.client import Client, connected, of_stages
from deploy.cli.options import DATA, AsJson, DataOption, WorkspaceOption
from deploy.cli.terminal import plain_console
from deploy.errors import Problem


class Kind(StrEnum):
    BACKEND = "backend"
    LANE = "lane"
    TARGET = "target"
    WORKSPACE = "workspace"


# Where each one is put on. A lane's holds back new pictures; those that are made already are finished.
STAGES = {
    Kind.BACKEND: ("inference",),
    Kind.LANE: ("inference",),
    Kind.TARGET: ("publisher",),
    Kind.WORKSPACE: ("inference", "postprocess", "publisher"),
}
EVERYWHERE = ("inference", "postprocess", "publisher")

KindOption = Annotated[Kind, typer.Argument(help="What is braked.")]
NameOption = Annotated[str | None, typer.Argument(help="Its name; of a workspace its id, default your own.")]
ReasonOption = Annotated[str, typer.Option(help="Why, for whoever finds it.")]
EveryoneOption = Annotated[bool, typer.Option("--everyone", help="Of all workspaces; needs a key with the role owner.")]


def brakes(
    data: DataOption = DATA,
    workspace: WorkspaceOption = None,
    as_json: AsJson = False,  # noqa: FBT002 a flag
) -> None:
    """List the brakes that hold your work, with who put them on, when, why, and how much stands behind them."""
    with connected(data, workspace=workspace) as client:
        answers = of_stages(client, EVERYWHERE, "brakes")
    found = [brake for answer in answers.values() for brake in answer or ()]
    silent = [stage for stage, answer in answers.items() if answer is None]
    if as_json:
        typer.echo(json.dumps({"brakes": found, "silent": silent}))
    else:
        plain_console().print(braked(found) if found else Text("Nothing is braked.", "dim"))
    if silent:
        raise Problem(f"No answer came from {', '.join(silent)}.", remedy="See `calotype status`, ask again.")


def put_on(client: Client, mode: str, kind: Kind, name: str | None, *, reason: str, everyone: bool) -> list[Any]:
    """Puts the brake on in every stage it reaches; says how it stands in each."""
    body = {"mode": mode, "reason": reason, "everyone": everyone}
    name = name or _own(client, kind)
    return [client.call("PUT", f"/v1/stages/{stage}/brakes/{kind}/{name}", json=body) for stage in STAGES[kind]]


def take_off(client: Client, kind: Kind, name: str | None, *, everyone: bool) -> list[Any]:
    name = name or _own(client, kind)
    query = {"everyone": everyone}
    return [client.call("DELETE", f"/v1/stages/{stage}/brakes/{kind}/{name}", params=query) for stage in STAGES[kind]]


def tell(found: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(found))
    else:
        plain_console().print(braked(found))


def _own(client: Client, kind: Kind) -> str:
    if kind is not Kind.WORKSPACE:
        raise Problem(f"Which {kind}?", remedy=f"Name it after `{kind}`; `calotype queue` shows what there is.")
    (own,) = client.get("/v1/workspaces")
    return str(own["workspace"])


def braked(brakes: Sequence[Mapping[str, Any]]) -> Table:
    table = Table("brake", "in", "since (UTC)", "by", "why", box=None, header_style="dim", padding=(0, 2, 0, 0))
    for name in ("running", "held"):
        table.add_column(name, justify="right")
    for brake in brakes:
        everyone = ", everyone's" if brake["everyone"] else ""
        done = brake["mode"] == "drain" and not brake["running"]
        table.add_row(
            f"{brake['mode']} {brake['kind']} {brake['name']}{everyone}",
            brake["stage"],
            str(brake["since"])[:19].replace("T", " "),
            brake["by"],
            brake["reason"],
            "drained" if done else f"{brake['running']:,}",
            f"{brake['held']:,}",
        )
    return table
