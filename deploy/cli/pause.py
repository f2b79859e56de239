"""`calotype pause`: a brake until `calotype resume`."""

from deploy.cli.brakes import EveryoneOption, KindOption, NameOption, ReasonOption, put_on, tell
from deploy.cli.client import connected
from deploy.cli.options import DATA, AsJson, DataOption, WorkspaceOption


def pause(
    kind: KindOption,
    name: NameOption = None,
    *,
    reason: ReasonOption,
    everyone: EveryoneOption = False,
    data: DataOption = DATA,
    workspace: WorkspaceOption = None,
    as_json: AsJson = False,
) -> None:
    """Let nothing new start: of a backend, a lane, a target or a workspace. What runs goes on."""
    with connected(data, workspace=workspace) as client:
        found = put_on(client, "pause", kind, name, reason=reason, everyone=everyone)
    tell(found, as_json=as_json)
