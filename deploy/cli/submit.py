"""`calotype submit`."""

import hashlib
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from deploy.cli.batch import Campaign, Name, expanded, send_file, tell_batch
from deploy.cli.client import Client, connected
from deploy.cli.options import DATA, AsJson, DataOption, WorkspaceOption
from deploy.cli.terminal import plain_console

ENDED = frozenset(("completed", "approved", "rejected", "failed", "cancelled"))
POLL_SECONDS = 0.5


def submit(
    file: Annotated[Path, typer.Argument(help="A request as .json, or many as .csv or .jsonl.", exists=True)],
    wait: Annotated[bool, typer.Option("--wait", help="Return when every job has an image or an end.")] = False,  # noqa: FBT002 a flag
    key: Annotated[str | None, typer.Option(help="Idempotency key of a .json request; default: its content.")] = None,
    campaign: Campaign = None,
    name: Name = None,
    data: DataOption = DATA,
    workspace: WorkspaceOption = None,
    as_json: AsJson = False,  # noqa: FBT002 a flag
) -> None:
    """Send a request, or a file of them; the same again makes nothing twice.

    Exit 1 if a row was refused, or with --wait if a job failed or was cancelled.
    """
    console = plain_console(stderr=as_json)
    with connected(data, workspace=workspace) as client:
        if file.suffix.lower() == ".json":
            told = _send_one(client, file, key)
            query = {"request": told["request_id"]}
            console.print(f"Request {told['request_id']}: {len(told['jobs'])} jobs of {told['template']}")
            refused = 0
        else:
            told = expanded(client, send_file(client, file, campaign=campaign, name=name))
            query = {"batch": told["batch_id"]}
            tell_batch(client, told, console)
            refused = told["refused"]
        if wait:
            for statuses in _statuses(client, query, _awaited(client, told)):
                if sys.stderr.isatty():
                    typer.echo(f"\r{_sentence(statuses)}\x1b[K", nl=False, err=True)
            told["statuses"] = dict(statuses)
            console.print(_sentence(statuses))
            refused += statuses["failed"] + statuses["cancelled"]
        if as_json:
            typer.echo(json.dumps(told))
    if refused:
        raise typer.Exit(1)


def _send_one(client: Client, file: Path, key: str | None) -> dict[str, Any]:
    content = file.read_bytes()
    headers = {
        "Idempotency-Key": key or hashlib.sha256(content).hexdigest(),
        "Content-Type": "application/json",
    }
    return dict(client.post("/v1/requests", content=content, headers=headers))


def _awaited(client: Client, told: dict[str, Any]) -> dict[str, int]:
    """Request → its jobs: those of the rows as they are now, made by this file or by one before."""
    if "request_id" in told:
        return {told["request_id"]: len(told["jobs"])}
    found: dict[str, int] = {}
    after = 0
    while True:
        page = client.get(f"/v1/batches/{told['batch_id']}/rows", after=after, limit=1000)
        found |= {row["request_id"]: row["jobs"] for row in page["rows"] if row["jobs"]}
        if page["next_after"] is None:
            return found
        after = page["next_after"]


def _statuses(client: Client, query: dict[str, str], awaited: dict[str, int]) -> Iterator[Counter[str]]:
    """Jobs by status, again and again until every awaited request's have ended; the batch may hold others beside."""
    expected = sum(awaited.values())
    while True:
        statuses = _counts(client, query)
        yield statuses
        if _ended(statuses) >= expected:
            awaited = {r: jobs for r, jobs in awaited.items() if _ended(_counts(client, {"request": r})) < jobs}
            if not awaited:
                yield _counts(client, query)
                return
        time.sleep(POLL_SECONDS)


def _counts(client: Client, query: dict[str, str]) -> Counter[str]:
    groups = client.get("/v1/jobs", group="status", **query)["groups"]
    return Counter({group["key"]: group["jobs"] for group in groups})


def _ended(statuses: Counter[str]) -> int:
    return sum(number for status, number in statuses.items() if status in ENDED)


def _sentence(statuses: Counter[str]) -> str:
    return ", ".join(f"{number} {status}" for status, number in sorted(statuses.items())) or "no job is known yet"
