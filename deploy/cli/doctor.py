"""`calotype doctor`: what is wrong now and what soon will be, each with its remedy."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import typer
from rich.text import Text

from deploy.cli.client import Client, connected
from deploy.cli.options import DATA, AsJson, DataOption, WorkspaceOption
from deploy.cli.terminal import plain_console
from deploy.errors import Problem
from deploy.local.certificates import ends_at
from deploy.local.data import DataFolder
from deploy.local.supervisor import STAGES

DUE_DAYS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing to do something about. `subject` names the stage, backend or rule; `date` is a backend's last day."""

    level: Literal["error", "warning"]
    code: str
    subject: str
    what: str
    remedy: str
    date: str | None = None


def doctor(
    data: DataOption = DATA,
    workspace: WorkspaceOption = None,
    as_json: AsJson = False,  # noqa: FBT002 a flag
) -> None:
    """Look at servers, stages, and the workspace's backends and routes; exit 1 if anything is an error."""
    findings = list(examine(data, workspace))
    errors = sum(finding.level == "error" for finding in findings)
    warnings = len(findings) - errors
    if as_json:
        told = [asdict(finding) for finding in findings]
        typer.echo(json.dumps({"findings": told, "errors": errors, "warnings": warnings}))
    else:
        console = plain_console()
        for finding in findings:
            mark = ("✕ ", "red") if finding.level == "error" else ("! ", "yellow")
            console.print(Text.assemble(mark, (finding.what, "bold"), f"\n  {finding.remedy}"))
        console.print(f"{errors} errors, {warnings} warnings" if findings else "Nothing is wrong.")
    if errors:
        raise typer.Exit(1)


def examine(data: Any, workspace: str | None) -> Iterator[Finding]:
    """Every finding, what keeps everything else from working first."""
    try:
        with connected(data, workspace=workspace) as client:
            yield from unready(client)
            yield from certificate(ends_at(DataFolder(data)), now=datetime.now(UTC))
            answer = client.send("GET", "/v1/backends")
            if answer.status_code < 500:  # else inference is away, which was found above
                yield from judged(client.checked(answer))
    except Problem as problem:
        yield Finding(level="error", code="unreachable", subject="calotype", what=problem.what, remedy=problem.remedy)


def unready(client: Client) -> Iterator[Finding]:
    """Stages that are not ready, with the servers that each of them waits for."""
    for stage in STAGES:
        answer = client.send("GET", f"/v1/stages/{stage}/readyz")
        if answer.status_code == 200:
            continue
        is_ours = "json" in answer.headers.get("content-type", "")
        said: dict[str, Any] = answer.json() if is_ours else {"detail": f"the address answers {answer.status_code}"}
        away = {name: why for name, why in said.get("dependencies", {}).items() if why != "ok"}
        why = "; ".join(f"{name}: {cause}" for name, cause in away.items()) or said.get("detail", "it does not say why")
        remedy = f"bring back {', '.join(away)}" if away else "see `calotype status`"
        yield Finding(
            level="error",
            code="not_ready",
            subject=stage,
            what=f"{stage} is not ready: {why}",
            remedy=f"{remedy}; `calotype logs {stage}` tells more",
        )


def certificate(ends: datetime | None, *, now: datetime) -> Iterator[Finding]:
    """The one that this machine made: without a time-stamp its files hold as long as it does."""
    left = None if ends is None else (ends - now).days
    if ends is None or left is None or left > DUE_DAYS:
        return
    over = left < 0
    yield Finding(
        level="error" if over else "warning",
        code="certificate_ended" if over else "certificate_due",
        subject="signing",
        what=f"the certificate that images are signed with {'ended' if over else 'ends'} on {ends:%Y-%m-%d}",
        remedy="remove the folder signing from the data folder and start again: another is made",
        date=f"{ends:%Y-%m-%d}",
    )


def judged(state: Mapping[str, Any]) -> Iterator[Finding]:
    """What `GET /v1/backends` tells, judged."""
    if state["problem"]:
        yield Finding(level="error", code="no_routes", subject="routes", what=state["problem"], remedy=state["remedy"])
    for backend in state["backends"]:
        if backend["enabled"]:
            yield from _life(backend)
            yield from _provider(backend)
            yield from _workers(backend)
    for rule in state["rules"]:
        if rule["unserved"]:
            why = "; ".join(f"{name}: {said}" for name, said in rule["unserved"].items())
            yield Finding(
                level="error",
                code="rule_unserved",
                subject=rule["id"],
                what=f"no backend can serve rule {rule['id']} ({why})",
                remedy=f"give rule {rule['id']} one that can, and publish the table as a new version",
            )


def _life(backend: Mapping[str, Any]) -> Iterator[Finding]:
    name, last, left = backend["name"], backend["end_of_life"], backend["days_left"]
    if left is None or left > DUE_DAYS:
        return
    if left < 0:
        code, what = "backend_ended", f"backend {name} ended on {last}: nothing is sent there any more"
    else:
        code, what = "backend_due", f"backend {name} ends on {last}, {f'in {left} days' if left else 'today'}"
    remedy = "name its successor in the rules and publish the table as a new version"
    yield Finding(level="warning", code=code, subject=name, what=what, remedy=remedy, date=last)


def _workers(backend: Mapping[str, Any]) -> Iterator[Finding]:
    is_there = not backend["uncallable"] and (backend["days_left"] is None or backend["days_left"] >= 0)
    if is_there and backend["rules"] and not backend["claimed"]:
        name = backend["name"]
        yield Finding(
            level="warning",
            code="backend_unclaimed",
            subject=name,
            what=f"no live process claims the work of backend {name} ({backend['work']})",
            remedy="start inference with the role work, whose settings and CALOTYPE_POOLS allow it; what waits for "
            "longer than CALOTYPE_UNCLAIMED_SECONDS goes to another backend of its rule or ends as unroutable",
        )


def _provider(backend: Mapping[str, Any]) -> Iterator[Finding]:
    name, provider = backend["name"], backend["provider"]
    if backend["uncallable"]:
        remedy = (
            f"set {provider} in inference's CALOTYPE_PROVIDERS, or switch the backend off"
            if provider
            else "give it `call: {provider: NAME}`, or switch it off"
        )
        what = f"backend {name} cannot be called: {backend['uncallable']}"
        yield Finding(level="warning", code="provider_unknown", subject=name, what=what, remedy=remedy)
    elif provider and not backend["has_key"] and backend["visibility"] != "private":
        what = f"backend {name} calls {provider} without a key"
        remedy = f"set the key of {provider} in inference's CALOTYPE_PROVIDERS"
        yield Finding(level="warning", code="provider_without_key", subject=name, what=what, remedy=remedy)
