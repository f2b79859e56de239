"""`calotype replay ASSET`: its image made again from its manifest, and whether it is the same."""

import json
import sys
import time
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from deploy.cli.client import Client, connected
from deploy.cli.options import DATA, AsJson, DataOption, WorkspaceOption
from deploy.cli.terminal import plain_console
from deploy.errors import Problem
from shared.likeness import apart

POLL_SECONDS = 0.2
SAME = frozenset(("exact", "within tolerance"))
STYLES = {
    "exact": "bold green",
    "within tolerance": "bold green",
    "drifted": "bold red",
    "not reproducible": "bold yellow",
}


def replay(
    asset: Annotated[str | None, typer.Argument(help="The asset's id.")] = None,
    cancel: Annotated[str | None, typer.Option("--cancel", help="End this replay, by its id.")] = None,
    derivatives: Annotated[bool, typer.Option("--derivatives", help="Its derivatives, not its image.")] = False,  # noqa: FBT002 a flag
    pay: Annotated[bool, typer.Option("--pay", help="Call a provider that sends a bill for it.")] = False,  # noqa: FBT002 a flag
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Come back with the verdict.")] = True,  # noqa: FBT002 a flag
    data: DataOption = DATA,
    workspace: WorkspaceOption = None,
    as_json: AsJson = False,  # noqa: FBT002 a flag
) -> None:
    """Make an asset's image again from its manifest: exact, within tolerance, drifted or not reproducible.

    With --derivatives the files of the version approved last, else of the newest, each compared with what is stored.

    Exit 1 unless it is the same: exact, or within tolerance.
    """
    console = plain_console(stderr=as_json)
    if (asset is None) == (cancel is None):
        raise Problem("Name an asset to make again, or a replay to --cancel.", remedy="See calotype replay --help.")
    with connected(data, workspace=workspace) as client:
        if cancel is not None:
            found = client.post(f"/v1/replays/{cancel}/cancel", {})
            typer.echo(json.dumps(found)) if as_json else console.print(drawn(found))
            return
        if derivatives:
            found = _derivatives_again(client, asset or "")
            typer.echo(json.dumps(found)) if as_json else console.print(files_drawn(found))
            if found["verdict"] not in SAME:
                raise typer.Exit(1)
            return
        manifest = client.get(f"/v1/assets/{asset}").get("manifest")
        if manifest is None:
            raise Problem(f"Asset {asset} has no manifest yet.", remedy="Wait for its image: `calotype why` says when.")
        asked = {"asset_id": asset, "manifest_sha256": manifest["sha256"], "pay": pay}
        found = client.post("/v1/replays", asked)
        if wait:
            found = _ended(client, found)
    if as_json:
        typer.echo(json.dumps(found))
    else:
        console.print(drawn(found))
    if wait and found["verdict"] not in SAME:
        raise typer.Exit(1)


def _derivatives_again(client: Client, asset: str) -> dict[str, Any]:
    shown = client.get(f"/v1/assets/{asset}")
    manifest = shown.get("derivatives_manifest")
    if manifest is None:
        what = f"Nothing was made of asset {asset} but its image, or not yet."
        raise Problem(what, remedy="Name channels in a request: their recipes say which files are made.")
    signed = {file["unsigned_sha256"]: file["sha256"] for file in shown["files"] if file.get("unsigned_sha256")}
    asked = {"manifest_sha256": manifest["sha256"], "signed": signed}
    found: dict[str, Any] = client.post(f"/v1/derivatives/{asset}/replay", asked)
    return found


def files_drawn(found: Mapping[str, Any]) -> RenderableType:
    """What `POST /v1/derivatives/{id}/replay` answers, for a terminal."""
    head = Text.assemble((found["verdict"], STYLES.get(found["verdict"], "bold")), f"  {len(found['files'])} files")
    table = Table("file", "verdict", "", box=None, header_style="dim", padding=(0, 2, 0, 0))
    for file in found["files"]:
        name = f"{file['recipe']} {file['rendition']}" if file["recipe"] else file["rendition"]
        told = "" if file["verdict"] == "exact" else file["sentence"]
        table.add_row(name, Text(file["verdict"], STYLES.get(file["verdict"], "")), told)
    return Group(head, table)


def _ended(client: Client, found: dict[str, Any]) -> dict[str, Any]:
    shows, said = sys.stderr.isatty(), None
    while found["ended_at"] is None:
        if shows:
            typer.echo(f"\r{_progress(found)}\x1b[K", nl=False, err=True)
        elif found["waits"] != said and (said := found["waits"]):
            typer.echo(said, err=True)
        time.sleep(POLL_SECONDS)
        found = client.get(f"/v1/replays/{found['replay_id']}")
    if shows:
        typer.echo("\r\x1b[K", nl=False, err=True)
    return found


def _progress(found: Mapping[str, Any]) -> str:
    at = f", step {found['step']} of {found['steps']}" if found["steps"] else ""
    detail = "".join(f": {why}" for why in (found["detail"], found["waits"]) if why)
    return f"{found['state']} on {found['backend']}{at}{detail}"


def drawn(found: Mapping[str, Any]) -> RenderableType:
    """A replay as `GET /v1/replays/{id}` tells it, for a terminal."""
    verdict = found["verdict"] or found["state"]
    head = Text.assemble((verdict, STYLES.get(verdict, "bold")), f"  replay {found['number']} on {found['backend']}")
    lines: list[RenderableType] = [head]
    if found["measure"]:
        lines.append(Text(apart(**found["measure"])))
    lines += [Text(why) for why in (found["detail"], found["waits"]) if why]
    if found["verdict"] in {*SAME, "drifted"}:
        lines.append(Text("changed since:" if found["changed"] else "nothing that the manifest records has changed"))
    if found["changed"]:
        table = Table("field", "then", "now", box=None, header_style="dim", padding=(0, 2, 0, 0))
        for change in found["changed"]:
            table.add_row(change["field"], _told(change["then"]), _told(change["now"]))
        lines.append(table)
    if found["ended_at"]:
        cost = "cost unknown" if found["cost"] is None else f"cost {found['cost']} {found['currency']}"
        lines.append(Text(cost, "dim"))
    if found.get("uncertain"):  # absent from an older release
        settle = f"calotype uncertain settle {found['replay_id']} --charged AMOUNT|none"
        lines.append(Text(f"It may have been billed. An operator looks it up there, then: {settle}", "dim"))
    lines.append(Text(f"replay {found['replay_id']}", "dim"))
    return Group(*lines)


def _told(value: Any) -> str:
    return "–" if value is None else value if isinstance(value, str) else json.dumps(value)
