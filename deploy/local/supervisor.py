"""Starts everything in order, keeps it running, stops it in reverse.

PostgreSQL and Kafka, then roles, schemas and topics, then six services, then the gateway in front of them. A part whose
outside counterpart the environment names is not started. Usable as a library: the demo and the live tests do.
"""

import asyncio
import contextlib
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import asyncpg
import httpx

from deploy.local.certificates import named_elsewhere, signing_environment
from deploy.local.data import DataFolder, read_json
from deploy.local.errors import CannotStart
from deploy.local.gateway import Gateway
from deploy.local.keeper import Keeper
from deploy.local.positions import Positions, rewind, step_back
from deploy.local.processes import Program, run
from deploy.local.progress import Progress, Silent
from deploy.local.restoring import RESTORED, refuse_half
from deploy.local.servers import EmbeddedServers
from deploy.local.tasks import together
from shared.errors import Unavailable
from shared.kafka import create_topics
from shared.postgres import STAGES_WITH_DATABASE, migrate_all
from shared.settings import KafkaSettings

STAGES = ("intake", "prompt", "inference", "postprocess", "catalog", "publisher")
USUAL_PORT = 8420


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One process to keep: it listens on CALOTYPE_HTTP_PORT and answers /readyz with 200 when it is ready."""

    name: str
    argv: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)


def stage(name: str) -> Service:
    """Return one of the six."""
    return Service(name=name, argv=[sys.executable, "-m", f"services.{name}"])


class Supervisor:
    """Everything on one data folder."""

    def __init__(
        self,
        data: Path,
        *,
        services: Sequence[Service] | None = None,
        environment: Mapping[str, str] | None = None,
        port: int | None = None,
        signs: bool = False,
        progress: Progress | None = None,
    ) -> None:
        """`signs`: with a certificate of this machine, where the environment names none."""
        self.data = DataFolder(data)
        self.services = tuple(services) if services is not None else tuple(stage(name) for name in STAGES)
        self.url = self.local_url = ""
        self._given = dict(os.environ if environment is None else environment)
        self._asked_port = port
        self._signs = signs and not named_elsewhere(self._given)
        self._progress = progress or Silent()
        self._servers = EmbeddedServers(
            data,
            kafka="CALOTYPE_KAFKA_BOOTSTRAP" not in self._given,
            postgres="DATABASE_URL" not in self._given,
            progress=self._progress,
        )
        self._keepers: list[Keeper] = []
        self._ports: dict[str, int] = {}
        self._gateway: Gateway | None = None
        self._fell = False  # the machine went down under the last run
        self._killed = False
        self._started = False

    async def start(self) -> None:
        """Return when everything is ready and `url` answers; on failure nothing is left running."""
        try:
            await self._servers.hold()
            refuse_half(self.data)
            await self._open_address()
            self._fell = self.data.begins()
            await self._servers.start()
            await self._start_services()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stop the gateway, the services, Kafka and PostgreSQL, in this order."""
        if self._gateway is not None:
            await self._gateway.stop()
            self._gateway = None
        keepers, self._keepers = self._keepers, []
        await asyncio.gather(*(keeper.stop() for keeper in keepers))
        await self._servers.stop()
        if self._started and not self._killed:
            self.data.ends()

    def kill(self) -> None:
        """End every process at once, for somebody who will not wait; the next start recovers."""
        self._killed = True
        for keeper in self._keepers:
            keeper.kill()
        self._servers.kill()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def _open_address(self) -> None:
        """Listen before anything is waited for: a taken port is said at once."""
        port = self._asked_port or self.data.port("public", preferred=USUAL_PORT)
        self._ports = {service.name: self.data.port(service.name) for service in self.services}
        self._gateway = Gateway(port=port, stages=self._ports)
        await self._gateway.start()
        self.local_url = f"http://127.0.0.1:{port}"
        self.url = self._given.get("CALOTYPE_PUBLIC_URL", self.local_url)

    async def _start_services(self) -> None:
        environment = self._environment()
        await prepare_servers(environment, passwords=self._database_passwords())
        self._progress.step("Schemas and topics are in place")
        if self._fell and self._servers.kafka is not None:
            await step_back(environment["CALOTYPE_KAFKA_BOOTSTRAP"])
            self._progress.step("The machine went down: consumer groups hear the last minute again")
        if self._signs:
            self._progress.step("Images are signed with a certificate of this machine: a test, not for production")
        await self._catch_up(environment)
        self._keepers = [self._keeper(service, self._ports[service.name], environment) for service in self.services]
        await together([keeper.start() for keeper in self._keepers])
        self._started = True
        self.data.announce(public=self.url, local=self.local_url)
        self._progress.step(f"{len(self.services)} services are ready")

    async def _catch_up(self, environment: Mapping[str, str]) -> None:
        """After a restore, once: groups go back to the backup's beginning, and stages hear what Kafka knows more.

        Done again from the start where it was interrupted; no service runs meanwhile.
        """
        restored = self.data.root / RESTORED
        manifest = read_json(restored)
        if not manifest:
            return
        await rewind(environment["CALOTYPE_KAFKA_BOOTSTRAP"], Positions.read(manifest["positions"]))
        self._progress.step(f"Consumer groups stand where they stood at {manifest['started_at']}")
        await together([run(self._reconciling(name, restored, environment)) for name in STAGES_WITH_DATABASE])
        restored.unlink()
        self._progress.step("Every stage knows what was told after its database was copied")

    def _reconciling(self, name: str, restored: Path, environment: Mapping[str, str]) -> Program:
        return Program(
            name=f"{name}-reconcile",
            argv=[sys.executable, "-m", f"services.{name}.reconcile", str(restored)],
            folder=self.data.root,
            log=self.data.logs / f"{name}.log",
            environment={**environment, **self._database_of(name)},
        )

    def _environment(self) -> dict[str, str]:
        """Return what all services get: our own places as defaults, the given environment above them."""
        own = {
            "CALOTYPE_BLOBS_URL": self.data.blobs.as_uri(),
            "CALOTYPE_PUBLIC_URL": self.url,
            "CALOTYPE_SESSION_SECRET": self.data.secret("session_secret"),
            "CALOTYPE_BOOTSTRAP_TOKEN": self.data.secret("bootstrap_token"),
            "CALOTYPE_MARK_KEY": self.data.mark_key(),
            "CALOTYPE_PUBLISH_FOLDER": str(self.data.published),
            "CALOTYPE_TRACE_SAMPLE": "1.0",
            # A webhook may be a program beside us; whoever puts others on this machine's network takes it away.
            "CALOTYPE_TARGET_NETWORKS": '["127.0.0.0/8", "::1/128"]',
            # glibc keeps an arena a thread otherwise, which nobody returns.
            "MALLOC_ARENA_MAX": "2",
        }
        if self._servers.kafka is not None:
            own |= {
                "CALOTYPE_KAFKA_BOOTSTRAP": self._servers.kafka_bootstrap,
                "CALOTYPE_TOPIC_PARTITIONS": "4",
                "CALOTYPE_TOPIC_REPLICATION": "1",
                # It flushes every second (kafka.py), and the disk takes its time too.
                "CALOTYPE_OUTBOX_KEEP_SECONDS": "3",
            }
        if self._servers.postgres is not None:
            own["DATABASE_URL"] = self._servers.admin_database_url
        if self._signs:
            own |= signing_environment(self.data)
        return own | self._given

    def _database_passwords(self) -> dict[str, str]:
        """Return a password per stage of the embedded database; in an outside one all use the given log-in."""
        if self._servers.postgres is None:
            return {}
        return {name: self.data.secret(f"postgres_password_{name}") for name in STAGES_WITH_DATABASE}

    def _database_of(self, name: str) -> dict[str, str]:
        """Return the log-in of a stage to the embedded database."""
        password = self._database_passwords().get(name)
        if password is None:
            return {}
        assert self._servers.postgres is not None
        return {"DATABASE_URL": self._servers.postgres.url(user=f"calotype_{name}", password=password)}

    def _keeper(self, service: Service, port: int, environment: Mapping[str, str]) -> Keeper:
        address = f"127.0.0.1:{port}"
        own = {"CALOTYPE_HTTP_HOST": "127.0.0.1", "CALOTYPE_HTTP_PORT": str(port)} | self._database_of(service.name)
        program = Program(
            name=service.name,
            argv=service.argv,
            folder=self.data.root,
            log=self.data.logs / f"{service.name}.log",
            environment={**environment, **own, **service.environment},
        )
        return Keeper(
            lambda: program, run=self.data.run, ready=lambda _pid: _answers(f"http://{address}/readyz"), address=address
        )


async def _answers(url: str) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        async with httpx.AsyncClient(timeout=5, trust_env=False) as client:
            return (await client.get(url)).status_code == httpx.codes.OK
    return False


async def prepare_servers(environment: Mapping[str, str], *, passwords: Mapping[str, str]) -> None:
    """Bring schemas and topics up to date, wherever they are."""
    url = environment.get("DATABASE_DIRECT_URL") or environment["DATABASE_URL"]
    try:
        await migrate_all(url, passwords=passwords)
    except (OSError, TimeoutError, asyncpg.PostgresError) as error:
        raise CannotStart(
            f"The database schemas could not be brought up to date: {error}",
            remedy="See that DATABASE_URL is reachable and that its user may create roles and schemas.",
        ) from error
    known = {name: environment.get(f"CALOTYPE_{name.upper()}") for name in KafkaSettings.model_fields}
    try:
        await create_topics(KafkaSettings.model_validate({k: v for k, v in known.items() if v is not None}))
    except Unavailable as error:
        raise CannotStart(
            f"The topics could not be created: {error}", remedy="See that CALOTYPE_KAFKA_BOOTSTRAP is reachable."
        ) from error
