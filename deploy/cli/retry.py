"""`calotype retry`: a fresh start of what failed."""

import json
from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from deploy.cli.client import Client, connected
from deploy.cli.options import DATA, AsJson, DataOption, WorkspaceOption
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
        retried, refused = _all(client, asked, limit=limit)
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
        console.print(_table(refused))


def _all(client: Client, asked: Mapping[str, Any], *, limit: int | None) -> tuple[list[str], list[dict[str, str]]]:
    """Page after page, until the last one or the limit."""
    retried: list[str] = []
    refused: list[dict[str, str]] = []
    after: int | None = 0
    left = limit
    while after is not None and left != 0:
        many = PAGE if left is None else min(PAGE, left)
        page = client.post("/v1/jobs/retry", {**asked, "limit": many, "after": after})
        retried += page["retried"]
        refused += page["refused"]
        after = page["next"]
        left = None if left is None else left - many
    return retried, refused


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


def _table(refused: list[dict[str, str]]) -> Table:
    """One line a reason, with the job where it is one."""
    reasons = Counter((one["why"], one["remedy"]) for one in refused)
    jobs = {(one["why"], one["remedy"]): one["job_id"] for one in refused}
    table = Table("not", "why", "instead", box=None, header_style="dim", padding=(0, 2, 0, 0))
    for (why, remedy), count in reasons.most_common():
        table.add_row(jobs[why, remedy] if count == 1 else f"{count} jobs", why, remedy)
    return table
