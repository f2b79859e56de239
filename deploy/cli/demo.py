"""`calotype demo`: the main job from beginning to end, on real servers, with the fictional brand Salt & Linden."""

import asyncio
import contextlib
import hashlib
import importlib.util
import json
import os
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from deploy.cli.options import DATA, DataOption
from deploy.cli.terminal import Terminal
from deploy.cli.trace import drawn
from deploy.cli.up import Told
from deploy.errors import Problem
from deploy.local.data import DataFolder
from deploy.local.first_run import Access, checked, ensure_workspace, publish_library, sign_in_link
from deploy.local.supervisor import STAGES, Supervisor
from shared.library.documents import Routes
from shared.library.reading import read_folder

DEPLOY = Path(__file__).resolve().parent.parent
LIBRARY = DEPLOY / "library"
MODELS = DEPLOY / "models"
WORKSPACE = "salt-and-linden"
APPROVE = 8  # what the demo reviewer lets through before the visitor takes over
PATIENCE = 180.0  # seconds until a step that should take a few is called stuck
ENDED = ("completed", "approved", "rejected", "failed", "cancelled")


class Maker(StrEnum):
    """Who makes the demo's pictures: the renderer, which needs no model, or the small model, which needs torch."""

    PROOF = "proof"
    DIFFUSION = "diffusion"


@dataclass(frozen=True, slots=True)
class Campaign:
    """`folder` has its CSV and what the library needs beside `LIBRARY`; a reviewer rejects one of `misplaced`."""

    name: str
    folder: Path
    misplaced: str
    why: str


CAMPAIGNS = {
    Maker.PROOF: Campaign("salt-and-brine", LIBRARY, "W05", "a saffron wall in a brine campaign"),
    Maker.DIFFUSION: Campaign("salt-and-shapes", DEPLOY / "library-diffusion", "S05", "a purple tin of green tea"),
}
Once = Annotated[bool, typer.Option("--once", help="Decide everything, publish what was approved, and exit.")]


def demo(
    data: DataOption = DATA,
    once: Once = False,  # noqa: FBT002 a flag
    port: Annotated[int | None, typer.Option(help="The port people use; default: the last one, else 8420.")] = None,
    backend: Annotated[Maker, typer.Option(help="Who makes the pictures; diffusion needs torch.")] = Maker.PROOF,
) -> None:
    """Run a campaign from its CSV file to published pictures, and leave the review page open.

    With --once the last line is JSON: {"jobs": …, "approved": …, "rejected": …, "published": …, "seconds": …}.
    """
    began = time.monotonic()
    environment = dict(os.environ)
    if backend is Maker.DIFFUSION:
        if importlib.util.find_spec("torch") is None:
            remedy = "Run `make demo BACKEND=diffusion`, which installs the developers' environment (5 GB)."
            raise Problem("The small model needs torch, which this environment does not have.", remedy=remedy)
        environment["CALOTYPE_DIFFUSION_MODELS"] = str(MODELS)
    with Terminal() as terminal:
        supervisor = Supervisor(data, environment=environment, port=port, signs=True, progress=terminal)
        shown = asyncio.run(_run(supervisor, terminal, CAMPAIGNS[backend], once=once, began=began))
    if once and shown is not None:
        sys.stdout.write(json.dumps(shown.line) + "\n")
    if shown is None or not shown.sound:
        raise typer.Exit(1)


@dataclass(frozen=True, slots=True)
class Shown:
    """What the campaign came to, and whether everything approved was published and read again equal."""

    line: dict[str, Any]
    sound: bool


async def _run(
    supervisor: Supervisor, terminal: Terminal, campaign: Campaign, *, once: bool, began: float
) -> Shown | None:
    """None if somebody stopped it before it was through."""
    told = Told(supervisor)
    starting = asyncio.create_task(supervisor.start())
    if not await told.lets_finish(starting):
        starting.cancel()
        await asyncio.wait({starting})
        return None
    showing = asyncio.create_task(_show(supervisor, terminal, campaign, once=once, began=began))
    try:
        if not await told.lets_finish(showing):
            showing.cancel()
            await asyncio.wait({showing})
            return None
        if not once:
            await told.wait()
        return showing.result()
    finally:
        terminal.step("Stopping")
        await supervisor.stop()
        terminal.step("Stopped")


class Demo:
    """The campaign, step by step, as upstream system, reviewer and DAM would see it."""

    def __init__(
        self, client: httpx.AsyncClient, access: Access, terminal: Terminal, data: DataFolder, campaign: Campaign
    ) -> None:
        self.campaign = campaign
        self.client = client
        self.access = access
        self.terminal = terminal
        self.data = data

    async def get(self, path: str, **query: Any) -> Any:
        return checked(await self.client.get(path, params=query, headers=self.access.headers))

    async def post(self, path: str, *, media_type: str = "application/json", **body: Any) -> Any:
        headers = self.access.headers | {"Content-Type": media_type}
        return checked(await self.client.post(path, headers=headers, **body))

    async def every(self, path: str, name: str, **query: Any) -> list[dict[str, Any]]:
        """All pages of a list."""
        found: list[dict[str, Any]] = []
        cursor: str | None = None
        while True:
            page = await self.get(path, **query, limit=200, **({"cursor": cursor} if cursor else {}))
            found += page[name]
            cursor = page["next"]
            if cursor is None:
                return found

    # -- the steps

    async def send_file(self) -> int:
        """Sends the CSV, tells what is wrong with which row, and returns how many jobs the good ones make."""
        path = self.campaign.folder / "campaign.csv"
        query = {"name": self.campaign.name, "campaign": self.campaign.name}
        sent = await self.post("/v1/batches", params=query, content=path.read_bytes(), media_type="text/csv")
        async for _ in patiently("the file is read"):
            batch = await self.get(sent["status"])
            if batch["state"] != "expanding":
                break
        jobs = sum((await self._counts("status")).values()) if batch["unchanged"] else batch["jobs"]
        again = f", {batch['unchanged']} made before" if batch["unchanged"] else ""
        self.terminal.step(f"{path.name}: {batch['rows']} rows, {batch['refused']} refused{again}; {jobs} jobs")
        for row in (await self.get(f"{sent['status']}/rows", limit=1000))["rows"]:
            for problem in row["problems"]:
                told = f"line {row['line']}, {row['key']}: {problem['what']} [dim]→ {problem['remedy']}[/]"
                self.terminal.console.print(f"        [red]✕[/] {told}")
        return int(jobs)

    async def watch(self, jobs: int) -> None:
        """Live progress per stage until every job's picture waits for a decision, or has ended otherwise."""
        with self._progress(jobs) as show:
            async for _ in patiently("every picture is made"):
                stages = await self._counts("stage")
                ready = sum((await self._counts("status", of=ENDED)).values())
                # A job stands at the stage that has it, so what is past a stage is counted from the next one on.
                past = [sum(stages.get(stage, 0) for stage in STAGES[place:]) for place in (2, 3)]
                show([max(past[0], ready), max(past[1], ready), ready])
                if ready >= jobs:
                    return

    async def _counts(self, group: str, *, of: Sequence[str] = ()) -> dict[str, int]:
        groups = (await self.get("/v1/jobs", group=group, campaign=self.campaign.name))["groups"]
        return {one["key"]: one["jobs"] for one in groups if not of or one["key"] in of}

    @contextlib.contextmanager
    def _progress(self, jobs: int) -> Iterator[Callable[[Sequence[int]], None]]:
        """A bar per stage on a terminal, else a line now and then."""
        console = self.terminal.console
        columns = (
            TextColumn("        {task.description:<18}"),
            BarColumn(32),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=console, disable=not console.is_terminal) as bars:
            tasks = [
                bars.add_task(words, total=jobs) for words in ("prompts assembled", "pictures made", "ready for review")
            ]
            told = 0

            def show(done: Sequence[int]) -> None:
                nonlocal told
                for task, number in zip(tasks, done, strict=True):
                    bars.update(task, completed=number)
                if not console.is_terminal and (done[-1] >= told + 12 or (done[-1] == jobs != told)):
                    told = done[-1]
                    self.terminal.step(f"{told} of {jobs} pictures are ready for review")

            yield show

    async def review(self, *, everything: bool) -> None:
        """Decides as the demo reviewer: rejects one picture that is out of place, approves eight others, or all."""
        assets = await self.assets()
        waiting = [asset for asset in assets if asset["status"] == "completed" and not asset["decision"]]
        decided = Counter(asset["decision"]["decision"] for asset in assets if asset["decision"])
        misplaced = self.campaign.misplaced
        wrong = [asset for asset in waiting if asset["row_key"] == misplaced][: max(0, 1 - decided["reject"])]
        right = [asset for asset in one_of_each(waiting) if asset not in wrong]
        if not everything:
            right = [asset for asset in right if asset["row_key"] != misplaced][: max(0, APPROVE - decided["approve"])]
        verdicts = [_verdict(asset, "approve") for asset in right]
        verdicts += [_verdict(a, "reject", code="off_palette", reason=self.campaign.why) for a in wrong]
        if not verdicts:
            self.terminal.step("The demo reviewer has decided before")
            return
        refused = (await self.post("/v1/decisions", json={"decisions": verdicts}))["refused"]
        if refused:
            raise Problem(f"{len(refused)} decisions were refused.", remedy="Open the review page and decide there.")
        self.terminal.step(
            f"The demo reviewer: {len(right)} approved, {len(wrong)} rejected (off_palette); facts in ten seconds"
        )

    async def assets(self) -> list[dict[str, Any]]:
        return await self.every("/v1/assets", "assets", campaign=self.campaign.name)

    async def outcome(self) -> tuple[Counter[str], list[dict[str, Any]]]:
        """Waits until every decision is a fact and what was approved is published; jobs per status, publications."""
        async for _ in patiently("every decision is a fact and what was approved is published"):
            assets = await self.assets()
            statuses = Counter(asset["status"] for asset in assets)
            open_decisions = sum(bool(asset["decision"]) and asset["status"] == "completed" for asset in assets)
            publications = await self.every("/v1/publications", "publications")
            settled = sum(one["state"] in {"delivered", "failed", "uncertain"} for one in publications)
            if not open_decisions and settled >= statuses["approved"]:
                break
        return statuses, publications

    def equal(self, publication: dict[str, Any]) -> bool:
        """Whether every file stands where the receipt says, with the bytes it says."""
        folder = self.data.published
        return publication["state"] == "delivered" and all(
            hashlib.sha256(_within(folder, receipt["location"]).read_bytes()).hexdigest() == receipt["sha256"]
            for receipt in publication["receipts"]
        )


def _within(folder: Path, location: str) -> Path:
    path = Path(location.removeprefix("file://"))
    return path if path.is_absolute() else folder / path


def _verdict(asset: dict[str, Any], decision: str, **more: str) -> dict[str, Any]:
    return {
        "asset_id": asset["asset_id"],
        "asset_version": asset["asset_version"],
        "review_version": asset["review_version"],
        "decision": decision,
        **more,
    }


def one_of_each(assets: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """First one of every row, then the second ones: eight approvals show eight products."""
    places: Counter[str] = Counter()
    keyed = []
    for asset in sorted(assets, key=lambda one: (one["row_key"] or "", one["variant"])):
        places[asset["row_key"]] += 1
        keyed.append((places[asset["row_key"]], asset["row_key"], asset))
    return [asset for _, _, asset in sorted(keyed, key=lambda one: one[:2])]


async def patiently(what: str) -> AsyncIterator[None]:
    """Asks again every fifth of a second; says what is stuck when it takes far too long."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        yield
        await asyncio.sleep(0.2)
    raise Problem(
        f"After {PATIENCE:.0f} s it is still not true that {what}.",
        remedy="Look into `calotype logs` and `calotype dlq list`.",
    )


async def _show(supervisor: Supervisor, terminal: Terminal, campaign: Campaign, *, once: bool, began: float) -> Shown:
    async with httpx.AsyncClient(base_url=supervisor.url, timeout=30, trust_env=False) as client:
        access = await ensure_workspace(client, supervisor.data, name=WORKSPACE)
        folders = dict.fromkeys([LIBRARY, campaign.folder])
        new = [name for folder in folders for name in await publish_library(client, access, folder)]
        terminal.step(
            f"Library of Salt & Linden: {len(new)} documents published" if new else "The library is there already"
        )
        demo = Demo(client, access, terminal, supervisor.data, campaign)
        jobs = await demo.send_file()
        await demo.watch(jobs)
        await demo.review(everything=once)
        statuses, publications = await demo.outcome()
        delivered = [one for one in publications if one["state"] == "delivered"]
        equal = sum(demo.equal(one) for one in delivered)
        seconds = round(time.monotonic() - began, 1)
        terminal.step(f"{len(delivered)} published; read again, {equal} are equal to the last byte")
        await _tell(demo, delivered, jobs=jobs, waiting=statuses["completed"])
    approved, rejected = statuses["approved"], statuses["rejected"]
    line = {"jobs": jobs, "approved": approved, "rejected": rejected, "published": equal, "seconds": seconds}
    return Shown(line, sound=equal == approved and (not once or approved + rejected == jobs))


async def _tell(demo: Demo, delivered: Sequence[dict[str, Any]], *, jobs: int, waiting: int) -> None:
    """One asset's whole life, what a cloud route would have cost, the folder and the page."""
    say = demo.terminal.console.print
    if delivered:
        asset = delivered[-1]["asset_id"]
        say(f"\nOne asset's whole life, as [bold]calotype trace {asset}[/] tells it:\n")
        say(drawn(await demo.get(f"/v1/trace/{asset}")))
    price = cloud_price()
    if price is not None:
        say(f"\nEstimate: a cloud route would have cost about ${price * jobs:.2f} for {jobs} pictures; here $0.00.")
    say(f"\n  Published to  {demo.data.published}")
    if waiting:
        link = await sign_in_link(demo.client, demo.access, path="/review")
        say(f"  Review page   [bold]{link}[/]")
        say(f"                {waiting} pictures wait for you. The link signs one browser in, once, within 15 minutes.")
        say("                Ctrl-C stops everything.\n")


def cloud_price() -> Decimal | None:
    """The list price of the disabled cloud route in the demo's routing table."""
    tables = [document for document, _ in read_folder(LIBRARY).documents if isinstance(document, Routes)]
    prices = [backend.price for table in tables for backend in table.backends if backend.visibility == "cloud"]
    return next((price for price in prices if price is not None), None)
