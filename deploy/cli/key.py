"""`calotype key …`: who may do what in a workspace."""

import json
from typing import Annotated, Any

import typer
from rich.table import Table

from deploy.cli.client import connected, connected_as_owner
from deploy.cli.options import DATA, AsJson, DataOption, WorkspaceOption
from deploy.cli.terminal import plain_console
from shared.identity import ROLES

app = typer.Typer(help="API keys.", no_args_is_help=True, add_completion=False)


@app.command()
def create(
    principal: Annotated[str, typer.Argument(help="Who it is for: a person's or a system's name.")],
    role: Annotated[list[str], typer.Option(help=f"Any of: {', '.join(ROLES)}.")],
    data: DataOption = DATA,
    workspace: WorkspaceOption = None,
    as_json: AsJson = False,  # noqa: FBT002 a flag
) -> None:
    """Make a key and print its token, which is told this once. One with the role owner needs the bootstrap token."""
    asked: dict[str, Any] = {"principal": principal, "roles": role}
    if "owner" in role:
        with connected(data, workspace=workspace) as client:
            (own,) = client.get("/v1/workspaces")
        with connected_as_owner(data) as client:
            made = client.post("/v1/keys", asked | {"workspace": own["workspace"]})
    else:
        with connected(data, workspace=workspace) as client:
            made = client.post("/v1/keys", asked)
    typer.echo(json.dumps(made) if as_json else made["token"])


@app.command(name="list")
def list_(
    data: DataOption = DATA,
    workspace: WorkspaceOption = None,
    as_json: AsJson = False,  # noqa: FBT002 a flag
) -> None:
    """List the workspace's keys, never their secrets."""
    with connected(data, workspace=workspace) as client:
        keys = client.get("/v1/keys")
    if as_json:
        typer.echo(json.dumps(keys))
        return
    table = Table("key", "principal", "roles", "state", box=None)
    for key in keys:
        state = "active" if key["active"] else "revoked"
        table.add_row(key["key_id"], key["principal"], ", ".join(key["roles"]), state)
    plain_console().print(table)


@app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(help="The id in `calotype key list`.")],
    data: DataOption = DATA,
    workspace: WorkspaceOption = None,
) -> None:
    """End a key, and every browser that is signed in with it."""
    with connected(data, workspace=workspace) as client:
        client.call("DELETE", f"/v1/keys/{key_id}")
    typer.echo(f"Key {key_id} is revoked.")
