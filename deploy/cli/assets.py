"""`calotype assets …`: new versions of approved assets by other recipes, and where an asset stands."""

import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from deploy.cli.client import Client, connected
from deploy.cli.options import DATA, AsJson, DataOption, WorkspaceOption
from deploy.cli.pages import pages, refusals
from deploy.cli.terminal import plain_console
from deploy.cli.trace import mark
from deploy.errors import Problem

app = typer.Typer(
    help="New versions of approved assets, and where one stands.", no_args_is_help=True, add_completion=False
)

PATH = "/v1/assets/rerun"
PAGE = 200


@app.command()
def show(
    asset: Annotated[str, typer.Argument(metavar="ASSET", help="Its id.")],
    data: DataOption = DATA,
    workspace: WorkspaceOption = None,
    as_json: AsJson = False,  # noqa: FBT002 a flag
) -> None:
    """Say where an asset stands: its versions, the asks for new ones and how each ended, and where it is published."""
    with connected(data, workspace=workspace) as client:
        found = client.get(f"/v1/assets/{asset}")
    if as_json:
        typer.echo(json.dumps(found))
    else:
        plain_console().print(drawn(found))


def drawn(found: Mapping[str, Any]) -> RenderableType:
    """What `GET /v1/assets/{id}` answers, for a terminal."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for version in found["versions"]:
        by = f"decided by {version['decision']['by']}" if version["decision"] else ""
        shown = ["stands"] if version["asset_version"] == found["asset_version"] else []
        words = ", ".join(filter(None, (by, *shown)))
        table.add_row("version", mark(version["status"]), f"{version['asset_version']}  {words}")
    for ask in found["reruns"]:
        table.add_row("rerun", _state(ask), _asked(ask))
    for place in found["publications"]:
        table.add_row("published", place["state"], ": ".join(filter(None, (place["target"], place["detail"]))))
    return Group(Text.assemble(("asset ", "dim"), found["asset_id"], "   ").append_text(mark(found["status"])), table)


def _state(ask: Mapping[str, Any]) -> Text:
    return mark("completed", "made") if ask["state"] == "made" else mark(ask["state"])


def _asked(ask: Mapping[str, Any]) -> str:
    asked = f"{', '.join(ask['recipes'].values())}, asked for by {ask['by']} at {ask['asked_at'][:19]}"
    if ask["asset_version"]:
        return f"{asked}: {ask['asset_version']}"
    if (failure := ask["failure"]) is None:
        return asked
    remedy = f" → {failure['remedy']}" if failure["remedy"] else ""
    return f"{asked}: {failure['reason']}: {failure['detail']}{remedy}"


@app.command()
def rerun(
    recipe: Annotated[list[str], typer.Option("--recipe", metavar="NAME@N", help="Repeat it for other channels.")],
    asset: Annotated[list[str] | None, typer.Argument(help="Only these, by their ids.")] = None,
    channel: Annotated[str | None, typer.Option(help="Refuse unless the recipe is for this channel.")] = None,
    campaign: Annotated[str | None, typer.Option(help="Only of this campaign.")] = None,
    asset_type: Annotated[str | None, typer.Option("--type", help="Only of this asset type.")] = None,
    batch: Annotated[str | None, typer.Option(help="Only of this batch.")] = None,
    every: Annotated[bool, typer.Option("--every", help="All that is approved.")] = False,  # noqa: FBT002 a flag
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would happen.")] = False,  # noqa: FBT002
    limit: Annotated[int | None, typer.Option(min=1, help="Look at no more assets than this.")] = None,
    data: DataOption = DATA,
    workspace: WorkspaceOption = None,
    as_json: AsJson = False,  # noqa: FBT002 a flag
) -> None:
    """Make new versions of approved assets by other recipes; nothing is generated, so nothing is paid.

    Each new version is reviewed. What is approved and published stays until the new one is approved and delivered.
    A second ask finds what the first one asked for, so nothing is made twice.
    """
    where = {"campaign": campaign, "asset_type": asset_type, "batch": batch, "assets": asset or None}
    given = {name: value for name, value in where.items() if value is not None}
    asked = {"recipes": recipe, "where": given, "every": every}
    with connected(data, workspace=workspace) as client:
        if channel is not None:
            _check(client, asked, channel)
        answers = list(pages(client, PATH, asked | {"dry_run": dry_run}, size=PAGE, limit=limit))
    recipes = answers[-1]["recipes"]
    requested, refused = ([one for answer in answers for one in answer[kind]] for kind in ("requested", "refused"))
    if as_json:
        told = {"recipes": recipes, "requested": requested, "refused": refused, "dry_run": dry_run}
        typer.echo(json.dumps(told))
        return
    console = plain_console()
    if not requested and not refused:
        console.print(Text("Nothing that is approved is like that.", "dim"))
        return
    verb = "would get" if dry_run else "get"
    by = ", ".join(f"{name} for {label}" for label, name in recipes.items())
    console.print(f"{len(requested)} assets {verb} a new version by {by}; {len(refused)} do not.")
    if requested and not dry_run:
        console.print(Text("They come to review as they are made.", "dim"))
    if refused:
        console.print(refusals(refused, id="asset_id", many="assets"))


def _check(client: Client, asked: Mapping[str, Any], channel: str) -> None:
    page = client.post(PATH, {**asked, "dry_run": True, "limit": 1})
    if set(page["recipes"]) != {channel}:
        others = ", ".join(f"{name} is for {label}" for label, name in page["recipes"].items())
        raise Problem(f"{others}, not {channel}.", remedy="Name a recipe of that channel, or leave --channel out.")
