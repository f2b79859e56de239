"""`calotype retry`: a fresh start of what failed."""

import json
from typing import Annotated

import typer
from rich.text import Text

from deploy.cli.client import connected
from deploy.cli.options import DATA, AsJson, DataOption, WorkspaceOption
from deploy.cli.pages import pages, refusals
from deploy.cli.terminal import plain_console
from deploy.errors import Problem

FIELDS = ("reason", "stage", "backend", "batch", "campaign", "request", "job")
PAGE = 500


def retry(
    where: Annotated[
        list[str] | None, typer.Option(metavar="FIELD=VALUE[,…]", help=f"All must hold; any of {', '.join(FIELDS)}.")
    ] = None,
    every: Annotated[bool, typer.Option("--every", help="All that failed.")] = False,  # noqa: FBT002 a flag
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would happen.")] = False,  # noqa: FBT002
    limit: Annotated[int | None, typer.Option(min=1, help="Look at no more failed jobs than this.")] = None,
    data: DataOption = DATA,
    workspace: WorkspaceOption = None,
    as_json: AsJson = False,  # noqa: FBT002 a flag
) -> None:
    """Start failed jobs again, each as its next run; what that cannot help is named with the reason.

    The picture is made again, and paid for again. A second ask finds what still failed, so nothing is started twice.
    """
    asked = {"where": _read(where or []), "every": every, "dry_run": dry_run}
    with connected(data, workspace=workspace) as client:
        answers = list(pages(client, "/v1/jobs/retry", asked, size=PAGE, limit=limit))
    retried, refused = ([one for answer in answers for one in answer[kind]] for kind in ("retried", "refused"))
    if as_json:
        typer.echo(json.dumps({"retried": retried, "refused": refused, "dry_run": dry_run}))
        return
    console = plain_console()
    if not retried and not refused:
        console.print(Text("Nothing that failed is like that.", "dim"))
        return
    verb = "would start again" if dry_run else "start again"
    console.print(f"{len(retried)} jobs {verb}; {len(refused)} do not.")
    if refused:
        console.print(refusals(refused, id="job_id", many="jobs"))


def _read(conditions: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for condition in ",".join(conditions).split(",") if conditions else []:
        field, is_there, value = condition.partition("=")
        if not is_there or field.strip() not in FIELDS or not value.strip():
            raise Problem(
                f"--where does not understand {condition!r}.",
                remedy=f"Write field=value, by commas; the fields are {', '.join(FIELDS)}.",
            )
        found[field.strip()] = value.strip()
    return found
