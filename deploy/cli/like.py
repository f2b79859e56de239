"""`calotype like ASSET`: one more like it, as a request of its own with its seed or some variables changed."""

import hashlib
import json
import secrets
import sys
import time
from typing import Annotated, Any

import typer

from deploy.cli.client import Client, connected
from deploy.cli.options import DATA, AsJson, DataOption, WorkspaceOption
from deploy.cli.submit import ENDED, POLL_SECONDS
from deploy.cli.terminal import plain_console
from deploy.errors import Problem

SEEDS = 2**31


def like(
    asset: Annotated[str, typer.Argument(help="The asset's id.")],
    seed: Annotated[
        str | None, typer.Option(help="keep, new or a number; default: keep where a variable is set, else new.")
    ] = None,
    change: Annotated[
        list[str] | None, typer.Option("--set", help="name=value: a variable of its template; repeat it for others.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Return when its job has an image or an end.")] = False,  # noqa: FBT002 a flag
    data: DataOption = DATA,
    workspace: WorkspaceOption = None,
    as_json: AsJson = False,  # noqa: FBT002 a flag
) -> None:
    """Ask for one more like an asset: the same request at the same versions, with a new seed or other variables.

    What is made knows the asset as its parent. Exit 1 with --wait if its job failed or was cancelled.
    """
    console = plain_console(stderr=as_json)
    variables = dict(_pair(each) for each in change or ())
    with connected(data, workspace=workspace) as client:
        asked = client.get(f"/v1/assets/{asset}/request")
        asked["variables"] = asked.get("variables", {}) | variables
        asked["seed"] = _seed(seed or ("keep" if variables else "new"), asked.get("seed"))
        body = json.dumps(asked, sort_keys=True).encode()
        headers = {"Idempotency-Key": hashlib.sha256(body).hexdigest(), "Content-Type": "application/json"}
        told = client.post("/v1/requests", content=body, headers=headers)
        told |= {"parent_asset_id": asked["parent_asset_id"], "seed": asked["seed"]}
        console.print(f"Job {told['jobs'][0]}: {told['template']}, seed {told['seed']}, more like {asset}")
        if wait:
            told |= _ended(client, told["jobs"][0])
            console.print(f"{told['status']}: asset {told['asset_id']}" if told["asset_id"] else told["status"])
    if as_json:
        typer.echo(json.dumps(told))
    if wait and told["asset_id"] is None:
        raise typer.Exit(1)


def _pair(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign or not name:
        raise Problem(f"{text!r} sets nothing.", remedy="Write --set name=value.")
    return name, value


def _seed(text: str, kept: int | None) -> int | None:
    if text == "keep":
        return kept
    if text == "new":
        return secrets.randbelow(SEEDS)  # drawn here, so that the same command sent twice by a retry is one request
    if not text.isdecimal() or int(text) >= SEEDS:
        raise Problem(f"{text!r} is no seed.", remedy=f"Give keep, new, or a number below {SEEDS}.")
    return int(text)


def _ended(client: Client, job: str) -> dict[str, Any]:
    while True:
        answer = client.send("GET", f"/v1/jobs/{job}")
        if answer.status_code != 404:  # the catalog hears of it a moment later
            found = client.checked(answer)
            if found["status"] in ENDED:
                made = found["asset_id"] if found["status"] not in ("failed", "cancelled") else None
                return {"status": found["status"], "asset_id": made}
            if sys.stderr.isatty():
                typer.echo(f"\r{found['stage']}: {found['status']}\x1b[K", nl=False, err=True)
        time.sleep(POLL_SECONDS)
