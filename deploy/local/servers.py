"""Kafka and PostgreSQL together: what the supervisor starts first, and all that a live test needs."""

import asyncio
import contextlib
import signal
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from deploy.local.accounts import server_account
from deploy.local.data import DataFolder, cache_folder, read_json
from deploy.local.errors import CannotStart
from deploy.local.kafka import Kafka
from deploy.local.keeper import Keeper
from deploy.local.logs import keep_short
from deploy.local.postgres import Postgres
from deploy.local.processes import Identity, stop_identity
from deploy.local.progress import Progress, Silent
from deploy.local.restoring import PATIENT_KAFKA, RESTORED
from deploy.local.tasks import together


class EmbeddedServers:
    """Holds a data folder alone and runs the servers asked for on it, until stopped."""

    def __init__(
        self,
        data: Path,
        *,
        kafka: bool = True,
        postgres: bool = True,
        kafka_properties: Mapping[str, str] | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.data = DataFolder(data)
        self.kafka: Kafka | None = None
        self.postgres: Postgres | None = None
        self._wants_kafka = kafka
        self._wants_postgres = postgres
        self._kafka_properties = kafka_properties
        self._progress = progress or Silent()
        self._keepers: dict[str, Keeper] = {}
        self._open = contextlib.AsyncExitStack()
        self._held = False

    @property
    def kafka_bootstrap(self) -> str:
        """Return host:port of the running Kafka."""
        assert self.kafka is not None, "asked for no Kafka"
        return self.kafka.address

    @property
    def admin_database_url(self) -> str:
        """Return the address of the running database, for its administrator."""
        assert self.postgres is not None, "asked for no PostgreSQL"
        return self.postgres.admin_url

    async def start(self) -> None:
        """Return when both are ready; on failure nothing is left running."""
        try:
            await self.hold()
            await self._start()
        except BaseException:
            await self.stop()
            raise

    async def hold(self) -> None:
        """Take the data folder, and end what a killed supervisor left running on it."""
        if not self._held:
            self._open.enter_context(self.data.held())
            self._held = True
            await stop_leftovers(self.data)

    async def stop(self) -> None:
        """Stop Kafka, then PostgreSQL, and let go of the folder."""
        for name in ("kafka", "postgres"):
            if keeper := self._keepers.pop(name, None):
                if name == "kafka" and self.kafka and self.kafka.writes_start_up_cache:
                    self._progress.step("Kafka writes its start-up cache, once")
                await keeper.stop()
        await self._open.aclose()
        self._held = False

    def kill(self) -> None:
        """End both at once; they recover at the next start."""
        for keeper in self._keepers.values():
            keeper.kill()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def _start(self) -> None:
        account = await asyncio.to_thread(server_account)
        self.data.let_through(account)
        cache = cache_folder(self.data, account)
        starts = []
        if self._wants_postgres:
            folder = self.data.server_folder("postgres", account)
            port, password = self.data.port("postgres"), self.data.secret("postgres_password")
            self.postgres = await asyncio.to_thread(
                Postgres, folder, port=port, password=password, account=account, cache=cache
            )
            starts.append(self._start_postgres(self.postgres))
        if self._wants_kafka:
            folder = self.data.server_folder("kafka", account)
            port, controller = self.data.port("kafka"), self.data.port("kafka_controller")
            patience = PATIENT_KAFKA if (self.data.root / RESTORED).exists() else {}
            self.kafka = await asyncio.to_thread(
                Kafka,
                folder,
                port=port,
                controller_port=controller,
                account=account,
                cache=cache,
                properties={**(self._kafka_properties or {}), **patience},
            )
            starts.append(self._start_kafka(self.kafka))
        logs = asyncio.create_task(keep_short(self.data.logs))
        self._open.callback(logs.cancel)
        await together(starts)

    async def _start_postgres(self, postgres: Postgres) -> None:
        await postgres.prepare()
        await self._keep(postgres)
        await postgres.make_database()
        self._progress.step(f"PostgreSQL listens on {postgres.address}")

    async def _start_kafka(self, kafka: Kafka) -> None:
        progress = _Stoppable(self._progress)
        try:
            await asyncio.to_thread(kafka.download, progress)
        except asyncio.CancelledError:
            progress.stop()  # a thread cannot be cancelled, and the process would wait for its end
            raise
        await kafka.prepare()
        await self._keep(kafka)
        self._progress.step(f"Kafka listens on {kafka.address}")

    async def _keep(self, server: Kafka | Postgres) -> None:
        log = self.data.logs / f"{server.name}.log"
        if leftover := await asyncio.to_thread(server.leftover):
            program = server.program(log)
            await stop_identity(leftover, stop_signal=program.stop_signal, seconds=program.stop_seconds)
        keeper = Keeper(
            lambda: server.program(log),
            run=self.data.run,
            ready=server.ready,
            ended=server.ended,
            address=server.address,
        )
        self._keepers[server.name] = keeper
        await keeper.start()


class _Stoppable:
    """Passes progress on until stopped, then ends whoever reports it."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._stopped = False

    def stop(self) -> None:
        self._stopped = True

    def step(self, text: str) -> None:
        self._progress.step(text)

    def download(self, what: str, *, done: int, total: int) -> None:
        if self._stopped:
            raise CannotStart(f"Downloading {what} was stopped.", remedy="Start again.")
        self._progress.download(what, done=done, total=total)

    def share(self, what: str, *, done: int, total: int) -> None:
        self._progress.share(what, done=done, total=total)


async def stop_leftovers(data: DataFolder) -> list[str]:
    """End what a killed supervisor left running, in the order it would have; return the names."""
    stopped = []
    order = {"kafka": 1, "postgres": 2}
    for record in sorted(data.run.glob("*.json"), key=lambda path: order.get(path.stem, 0)):
        if record.stem == "supervisor":
            continue
        document = read_json(record)
        identity = Identity.read(document)
        if identity is not None and identity.session():
            stop_signal = signal.Signals(document.get("stop_signal", signal.SIGTERM))
            await stop_identity(identity, stop_signal=stop_signal, seconds=document.get("stop_seconds", 20.0))
            stopped.append(record.stem)
        record.unlink()
    return stopped
