"""`calotype drain`: a brake until nothing runs behind it."""

import time
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from deploy.cli.brakes import EveryoneOption, KindOption, NameOption, ReasonOption, put_on, tell
from deploy.cli.client import Client, connected
from deploy.cli.options import DATA, AsJson, DataOption, WorkspaceOption
from deploy.errors import Problem

LOOK_SECONDS = 1.0


def drain(
    kind: KindOption,
    name: NameOption = None,
    *,
    reason: ReasonOption,
    everyone: EveryoneOption = False,
    data: DataOption = DATA,
    workspace: WorkspaceOption = None,
    wait: Annotated[bool, typer.Option("--wait", help="Come back when nothing runs behind it any more.")] = False,
    as_json: AsJson = False,
) -> None:
    """Empty a backend, a lane, a target or a workspace before it is taken away; nothing new starts."""
    with connected(data, workspace=workspace) as client:
        found = put_on(client, "drain", kind, name, reason=reason, everyone=everyone)
        while wait and any(brake["running"] for brake in found):
            time.sleep(LOOK_SECONDS)
            found = [_again(client, brake) for brake in found]
    tell(found, as_json=as_json)


def _again(client: Client, brake: Mapping[str, Any]) -> Any:
    """The brake as it stands now. Raises Problem if somebody took it off meanwhile."""
    same = ("kind", "name", "everyone")
    for found in client.get(f"/v1/stages/{brake['stage']}/brakes"):
        if all(found[name] == brake[name] for name in same):
            return found
    raise Problem(f"The brake on {brake['kind']} {brake['name']} was taken off.", remedy="See `calotype audit`.")
