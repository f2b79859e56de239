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

POLL_SECONDS = 0.2
SAME = frozenset(("exact", "within tolerance"))
STYLES = {
    "exact": "bold green",
    "within tolerance": "bold green",
    "drifted": "bold red",
    "not reproducible": "bold yellow",
}


def replay(
    asset: Annotated[str, typer.Argument(help="The asset's id.")],
    pay: Annotated[bool, typer.Option("--pay", help="Call a provider that sends a bill for it.")] = False,  # noqa: FBT002 a flag
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Come back with the verdict.")] = True,  # noqa: FBT002 a flag
    data: DataOption = DATA,
    workspace: WorkspaceOption = None,
    as_json: AsJson = False,  # noqa: FBT002 a flag
) -> None:
    """Make an asset's image again from its manifest: exact, within tolerance, drifted or not reproducible.

    Exit 1 unless it is the same: exact, or within tolerance.
    """
    console = plain_console(stderr=as_json)
    with connected(data, workspace=workspace) as client:
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


def _ended(client: Client, found: dict[str, Any]) -> dict[str, Any]:
    shows = sys.stderr.isatty()
    while found["ended_at"] is None:
        if shows:
            typer.echo(f"\r{_progress(found)}\x1b[K", nl=False, err=True)
        time.sleep(POLL_SECONDS)
        found = client.get(f"/v1/replays/{found['replay_id']}")
    if shows:
        typer.echo("\r\x1b[K", nl=False, err=True)
    return found


def _progress(found: Mapping[str, Any]) -> str:
    at = f", step {found['step']} of {found['steps']}" if found["steps"] else ""
    detail = f": {found['detail']}" if found["detail"] else ""
    return f"{found['state']} on {found['backend']}{at}{detail}"


def drawn(found: Mapping[str, Any]) -> RenderableType:
    """A replay as `GET /v1/replays/{id}` tells it, for a terminal."""
    verdict = found["verdict"] or found["state"]
    head = Text.assemble((verdict, STYLES.get(verdict, "bold")), f"  replay {found['number']} on {found['backend']}")
    lines: list[RenderableType] = [head]
    if found["measure"]:
        lines.append(Text(measured(found["measure"])))
    if found["detail"]:
        lines.append(Text(found["detail"]))
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
    lines.append(Text(f"replay {found['replay_id']}", "dim"))
    return Group(*lines)


def measured(measure: Mapping[str, Any]) -> str:
    """How far apart, in a sentence."""
    if measure["psnr"] is None:
        return "every pixel is the same; the file is not"
    share = f"{100 * measure['differing']:.2f} % of the pixels differ"
    return f"{share}, by {measure['largest']} of 255 at most; {measure['psnr']:.1f} dB"


def _told(value: Any) -> str:
    return "–" if value is None else value if isinstance(value, str) else json.dumps(value)
