"""Everybody at once: upstream systems, people who cancel, reviewers, whoever poisons topics, and the janitor."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any, Self
from uuid import uuid4

from tests.faults.load.cancelling import cancel, cancel_batch
from tests.faults.load.cleaning import Janitor
from tests.faults.load.ledgers import Ledgers
from tests.faults.load.library import documents
from tests.faults.load.on_call import OnCall
from tests.faults.load.operating import Operator
from tests.faults.load.people import Person
from tests.faults.load.plan import Ask, Sheet, Step, Whose, picture, plan
from tests.faults.load.poison import Poisoner
from tests.faults.load.replaying import Replayer
from tests.faults.load.rerunning import Rerunner
from tests.faults.load.reviewing import Reviewer
from tests.faults.load.sending import Files, Http, Kafka
from tests.faults.oracle import ids
from tests.faults.oracle.world import World
from tests.faults.quiet import until_quiet

KNOWN_WITHIN = 120.0  # seconds until every stage has heard of a new workspace and its library


class Load:
    """`open`, `run` until all is asked and answered, `clear` once nothing moves, `stop`. Same seed, same asks."""

    def __init__(
        self,
        world: World,
        *,
        requests: int,
        seed: int,
        rate: float | None = None,
        at_once: int = 8,
        poison: int | None = None,
        undo_seconds: float = 1.0,
        pictures: bool = False,
        replays: bool = False,
    ) -> None:
        """`rate` in requests a second, else as fast as they are answered; `poison`: how many records of it.

        `pictures`: some images begin from one, for which few providers are there. With `replays` somebody has dead
        letters heard again now and then, images made again, and recipes run again, while the rest goes on.
        """
        self.world = world
        self.requests = requests
        self.seed = seed
        self.ledgers = Ledgers(world.ledgers)
        self.sent: Counter[str] = Counter()
        self._rate = rate
        self._places = asyncio.Semaphore(at_once)
        self._poison = max(12, requests // 40) if poison is None else poison
        self._undo_seconds = undo_seconds
        self._pictures = pictures
        self._replays = replays
        self._people: dict[Whose, Person] = {}
        self._kafka = Kafka(world, self.ledgers)
        self._http = Http(self.ledgers)
        self._files = Files(self.ledgers)
        self._watching: list[asyncio.Task[None]] = []
        self._trying: list[asyncio.Task[None]] = []
        self._sending: set[asyncio.Task[None]] = set()
        self._cancelling: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def open(self) -> None:
        """Two workspaces with their libraries, known to every stage; from here on somebody decides on what waits."""
        for name in ("load", "canary"):
            self._people[name] = await self._workspace(name)
        for person in self._people.values():
            reviewer = Reviewer(person, self.ledgers, seed=self.seed)
            self._watching.append(asyncio.create_task(reviewer.run(), name="reviewer"))
        on_call = OnCall(self.world, self._people["load"], self.ledgers)
        self._watching.append(asyncio.create_task(on_call.run(), name="on call"))
        if self._replays:
            janitor = Janitor(self.world, list(self._people.values()), self.ledgers)
            replayer = Replayer(self._people["load"], self.ledgers, seed=self.seed)
            rerunner = Rerunner(self._people["load"], self.ledgers, seed=self.seed)
            self._trying = [
                asyncio.create_task(janitor.try_some(self._poison, seed=self.seed), name="janitor"),
                asyncio.create_task(replayer.run(), name="replayer"),
                asyncio.create_task(rerunner.run(), name="rerunner"),
            ]

    async def run(self) -> None:
        """Returns when every request was answered and every cancel was asked for. Raises what a sender raised."""
        poisoning = asyncio.create_task(self._spread_poison(), name="poisoner")
        began = time.monotonic()
        asked = 0
        try:
            for step in plan(seed=self.seed, requests=self.requests, canary=self.world.prompts_canary):
                if self._rate:
                    await asyncio.sleep(began + asked / self._rate - time.monotonic())
                asked += max(map(len, step.files)) if isinstance(step, Sheet) else 1
                await self._places.acquire()
                self._start(self._sending, self._send(step))
            await _all(self._sending)
            await poisoning
            await _all(self._cancelling)
            await self._try_no_more()
        finally:
            poisoning.cancel()

    async def clear(self, *, within: float = 120) -> Janitor:
        """Looks into what is uncertain, starts again what failed, ends every dead letter; for when nothing moves."""
        await until_quiet(self.world, within=within)
        for person in self._people.values():
            charges = [self.world.ledgers / name / "charges.jsonl" for name in self.world.providers]
            await Operator(person, self.ledgers, charges=charges).act()
        janitor = Janitor(self.world, list(self._people.values()), self.ledgers)
        await janitor.clear(within=within)
        return janitor

    async def _try_no_more(self) -> None:
        """Raises what a replay raised: nobody else would ever hear of it."""
        for task in self._trying:
            task.cancel()
        for task in self._trying:
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def stop(self) -> None:
        tasks = [*self._watching, *self._sending, *self._cancelling, *self._trying]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._kafka.close()
        for person in self._people.values():
            await person.close()
        self.ledgers.close()

    # -- the sequence

    def _start(self, tasks: set[asyncio.Task[None]], work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        tasks.add(task)
        task.add_done_callback(lambda done: tasks.discard(done) if not _failed(done) else None)

    async def _send(self, step: Step) -> None:
        try:
            person = self._people[step.whose]
            if isinstance(step, Sheet):
                batch_id = await self._files.send(step, person)
                self._cancel_rows(step, person)
                if step.cancel is not None and batch_id is not None:
                    work = cancel_batch(self.ledgers, person, step, batch_id, step.cancel)
                    self._start(self._cancelling, work)
                self.sent["batch"] += max(map(len, step.files))
                return
            if step.picture is not None and self._pictures:
                step = await self._begun_from_picture(step, step.picture, person)
            await (self._http if step.via == "http" else self._kafka).send(step, person)
            self._cancel(step, person)
            self.sent[step.via] += 1
        finally:
            self._places.release()

    async def _begun_from_picture(self, ask: Ask, number: int, person: Person) -> Ask:
        """The ask as it names the picture, which is added first, whether it is there already or not."""
        told = await person.json("POST", "/v1/sources", content=picture(number, ask.whose))
        return replace(ask, body=ask.body | {"sources": [{"source": told["source_id"]}]}, sha256=(told["sha256"],))

    def _cancel(self, ask: Ask, person: Person) -> None:
        if ask.cancel is None:
            return
        if ask.via == "http":
            request_id = ids.request_over_http(person.workspace, person.principal, ask.key)
        else:
            request_id = ids.request_over_kafka(person.workspace, ask.source, ask.key)
        self._start(self._cancelling, cancel(self.ledgers, person, request_id, ask.cancel))

    def _cancel_rows(self, sheet: Sheet, person: Person) -> None:
        for row in sheet.files[0]:
            if wanted := sheet.cancels.get(row.key):
                request_id = ids.request_of_row(person.workspace, sheet.name, row.key, row.ask)
                self._start(self._cancelling, cancel(self.ledgers, person, request_id, wanted))

    async def _spread_poison(self) -> None:
        if not self._poison:
            return
        workspace = self._people["load"].workspace
        poisoner = Poisoner(
            self.world, self._kafka, self.ledgers, seed=self.seed, workspace=workspace, many=self._poison
        )
        await poisoner.send_huge()
        # Over the whole load, where that has a length.
        gap = self.requests / self._rate / self._poison if self._rate else 0.05
        for poison, partition in poisoner.plan():
            await poisoner.send(poison, partition)
            await asyncio.sleep(gap)

    # -- workspaces

    async def _workspace(self, name: Whose) -> Person:
        """A workspace of that purpose. An answer that got lost leaves one behind that nobody uses."""
        founder = Person(self.world, self.ledgers, workspace="", principal="founder", token=self.world.bootstrap_token)
        made = None
        while made is None:
            ask = {"name": f"{name} {uuid4().hex[:8]}", "principal": name, "undo_seconds": self._undo_seconds}
            made = await founder.once("POST", "/v1/workspaces", json=ask)
            await asyncio.sleep(0 if made is not None else 0.5)
        await founder.close()
        told = made.raise_for_status().json()
        person = Person(self.world, self.ledgers, workspace=told["workspace"], principal=name, token=told["token"])
        self.ledgers.write(
            "workspaces", name=name, workspace=told["workspace"], principal=name, token=told["token"], seed=self.seed
        )
        library = documents(providers=self.world.providers, receiver=self.world.receiver)
        await person.json("POST", "/v1/library", json={"documents": library})
        async with asyncio.timeout(KNOWN_WITHIN):
            while not await _is_known(person, targets=sum(item["kind"] == "target" for item in library)):
                await asyncio.sleep(0.2)
        return person


async def _is_known(person: Person, *, targets: int) -> bool:
    """Whether every stage that answers people has heard of the workspace, its routes and its targets."""
    assets, publications = await person.look("/v1/assets"), await person.look("/v1/targets")
    routed = await person.once("POST", "/v1/explain-route", json={})
    return (
        all(answer is not None and answer.is_success for answer in (assets, publications, routed))
        and len(publications.json()["targets"]) >= targets  # type: ignore[union-attr]
        and bool(routed.json()["routable"])  # type: ignore[union-attr]
    )


def _failed(task: asyncio.Task[None]) -> bool:
    return not task.cancelled() and task.exception() is not None


async def _all(tasks: set[asyncio.Task[None]]) -> None:
    """Until all of them, and what they start, are over; raises what one raised."""
    while tasks:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            tasks.discard(task)
            with contextlib.suppress(asyncio.CancelledError):
                task.result()
