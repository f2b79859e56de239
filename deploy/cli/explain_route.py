"""`calotype explain-route FILE`: where the jobs of a request would be made, and why not elsewhere; nothing is sent."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import RenderableType

from deploy.cli.client import connected
from deploy.cli.options import DATA, AsJson, DataOption, WorkspaceOption
from deploy.cli.terminal import plain_console
from deploy.cli.trace import decision_table
from deploy.errors import Problem


def explain_route(
    file: Annotated[
        Path, typer.Argument(help="A request as .json, as `submit` takes it.", exists=True, dir_okay=False)
    ],
    bulk: Annotated[bool, typer.Option("--bulk", help="As a row of a file, and not by itself.")] = False,  # noqa: FBT002 a flag
    data: DataOption = DATA,
    workspace: WorkspaceOption = None,
    as_json: AsJson = False,  # noqa: FBT002 a flag
) -> None:
    """Say where a request's jobs would be made, at what price, and why not elsewhere. Nothing is sent.

    Exit 1 if no backend may take them.
    """
    if file.suffix.lower() != ".json":
        raise Problem(
            f"{file.name} is no single request.",
            remedy="Give one row of it as .json, with --bulk.",
        )
    headers = {"Content-Type": "application/json"}
    with connected(data, workspace=workspace) as client:
        answer = client.post("/v1/explain-route", content=file.read_bytes(), headers=headers, params={"bulk": bulk})
    if as_json:
        typer.echo(json.dumps(answer))
    else:
        console = plain_console()
        console.print(drawn(answer))
        if answer["remedy"]:
            console.print(f"Remedy: {answer['remedy']}")
    if not answer["routable"]:
        raise typer.Exit(1)


def drawn(answer: Mapping[str, Any]) -> RenderableType:
    """The answer of `POST /v1/explain-route`, a line a backend: the chosen one first."""
    table = decision_table()
    if asked := answer["asked"]:
        table.add_row("asked", asked["template"], _asked(asked))
    if answer["routable"]:
        table.add_row("chosen", answer["backend"], f"{answer['reason']}; {_price(answer)}")
    else:
        table.add_row("chosen", "none", answer["reason"])
    if canary := answer["canary"]:
        why = f"but {canary['refused']}" if canary["refused"] else "to see how it does"
        table.add_row("canary", canary["backend"], f"{canary['percent']} % of such jobs go there, {why}")
    for name, why in answer["refused"].items():
        table.add_row("not", name, why)
    if pin := answer["table"]:
        table.add_row("by", f"{pin['name']}@{pin['version']}", "")
    return table


def _asked(asked: Mapping[str, Any]) -> str:
    jobs = f"{asked['variants']} job{'s' if asked['variants'] > 1 else ''}"
    return (
        f"{jobs} of {asked['width']} × {asked['height']} px, {asked['confidentiality']}, {asked['priority']} priority"
    )


def _price(answer: Mapping[str, Any]) -> str:
    return (
        f"{answer['price']} {answer['currency']} an image" if answer["price"] is not None else "its price is not known"
    )
