"""A scripted webhook receiver that counts effects: `python -m tests.servers.receiver --port P --ledgers DIR --seed N`.

Written from the Standard Webhooks specification alone; it imports nothing of ours. `POST /hooks/TARGET` takes a signed
delivery for that target. Any of the accepted secrets may have signed it, a timestamp over five minutes off is refused,
and a webhook-id that was taken before has no second effect. Each POST is a line of `deliveries.jsonl`, flushed before
the answer leaves; a receiver that is killed and started again reads there what it had taken.

`PUT /script` with JSON, any of these, says what happens from now on; with `"target": NAME` at that target only:
- `"down": true` closes every connection without an answer, `"down": "hang"` keeps it open and silent, false ends both
- `"weights": {"ok": 90, "500": 5, …}`: how often each of `CHOICES` is taken. The choice follows from seed, target,
  webhook-id and how often that id came, so the same seed makes the same choices in whatever order deliveries come
- `"slow_seconds"` (2), `"retry_after"` (1), `"secrets"` (a list of `whsec_…`; the default accepts `SECRETS`)
- `"answer"`: what is said beside a 200 or 409, as JSON; `{url}` in it is where it listens
`GET /livez` answers once it listens, `GET /files/NAME` with what lies in `served`. `--port 0` takes any free port; the
first line of standard output is the address.
"""

import argparse
import base64
import hashlib
import hmac
import json
import random
import socket
import struct
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

OLD_SECRET = "whsec_" + base64.b64encode(b"the receiver's old secret, 32 b.").decode()
NEW_SECRET = "whsec_" + base64.b64encode(b"the receiver's new secret, 32 b.").decode()
SECRETS = (OLD_SECRET, NEW_SECRET)
# What a publisher needs to sign for it and to reach it; a document names `hook_new`, and `hook_old` during a rotation.
PUBLISHER_ENVIRONMENT = {
    "CALOTYPE_TARGET_SECRETS__HOOK_NEW": NEW_SECRET,
    "CALOTYPE_TARGET_SECRETS__HOOK_OLD": OLD_SECRET,
    "CALOTYPE_TARGET_NETWORKS": '["127.0.0.0/8"]',
}
TOLERANCE_SECONDS = 300  # as in the specification's reference libraries
HANG_SECONDS = 600  # longer than anybody waits

# What it does with a delivery that is signed rightly: (status, or None for no answer; whether it is taken).
CHOICES: Mapping[str, tuple[int | None, bool]] = {
    "ok": (200, True),
    "409": (409, True),  # what a receiver says that finds the id stored: somebody's try before this one was taken
    "slow": (200, True),
    "reply_lost": (None, True),
    "500_taken": (500, True),  # taken, and then something broke
    "500": (500, False),
    "503": (503, False),
    "429": (429, False),
    "410": (410, False),
    "400": (400, False),
    "hang": (None, False),
    "hang_taken": (None, True),  # taken, and then no answer for ever
    "reset": (None, False),
    "redirect": (302, False),
    "endless": (200, True),  # an answer whose body never ends
}


@dataclass(slots=True)
class Script:
    """What happens to deliveries; None in a target's own script means: as everywhere."""

    down: bool | str | None = None
    weights: Mapping[str, float] | None = None
    slow_seconds: float | None = None
    retry_after: float | None = None
    secrets: list[str] | None = None
    answer: Mapping[str, Any] | None = None

    def change(self, wanted: Mapping[str, Any]) -> None:
        unknown = set(wanted) - {"target", *Script.__slots__} | set(wanted.get("weights") or {}) - set(CHOICES)
        if unknown:
            raise ValueError(f"nobody knows {', '.join(sorted(unknown))}")
        for name in set(wanted) & set(Script.__slots__):
            setattr(self, name, wanted[name])


@dataclass(slots=True)
class Receiver:
    """What was taken, and what happens next. `url` is where it listens."""

    ledger: Path
    seed: int = 0
    url: str = ""
    everywhere: Script = field(
        default_factory=lambda: Script(
            down=False, weights={"ok": 1}, slow_seconds=2, retry_after=1, secrets=list(SECRETS)
        )
    )
    at: dict[str, Script] = field(default_factory=dict)
    taken: set[tuple[str, str]] = field(default_factory=set)
    tries: Counter[tuple[str, str]] = field(default_factory=Counter)
    served: dict[str, bytes] = field(default_factory=dict)
    queries: list[str] = field(default_factory=list)  # of each GET so far
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def __post_init__(self) -> None:
        self.ledger.parent.mkdir(parents=True, exist_ok=True)
        if self.ledger.exists() and not self.ledger.read_bytes().endswith(b"\n"):
            self.ledger.write_bytes(self.ledger.read_bytes() + b"\n")
        for line in self.lines():
            key = (line["target"], line["webhook_id"])
            self.tries[key] += 1
            if line["effect"]:
                self.taken.add(key)

    def lines(self) -> list[dict[str, Any]]:
        """Every POST so far; a last line that a kill cut short is none."""
        with self._lock:
            written = self.ledger.read_text().splitlines() if self.ledger.exists() else []
        return [json.loads(line) for line in written if line.endswith("}")]

    def effects(self, target: str | None = None) -> Counter[str]:
        """Webhook-id → how often it had an effect."""
        return Counter(
            line["webhook_id"] for line in self.lines() if line["effect"] and target in {None, line["target"]}
        )

    def script(self, **wanted: Any) -> None:
        """As `PUT /script`."""
        with self._changed:
            name = wanted.get("target")
            (self.everywhere if name is None else self.at.setdefault(name, Script())).change(wanted)
            self._changed.notify_all()

    def setting(self, target: str, name: str) -> Any:
        own = getattr(self.at.get(target), name, None)
        return getattr(self.everywhere, name) if own is None else own

    def hang(self, target: str) -> None:
        """Until the target is no longer said to hang."""
        with self._changed:
            self._changed.wait_for(lambda: self.setting(target, "down") != "hang", HANG_SECONDS)

    def choose(self, target: str, webhook_id: str) -> str:
        with self._lock:
            self.tries[target, webhook_id] += 1
            number = self.tries[target, webhook_id]
        weights = self.setting(target, "weights")
        draw = random.Random(f"{self.seed}/{target}/{webhook_id}/{number}")
        (choice,) = draw.choices(list(weights), weights=list(weights.values()))
        return str(choice)

    def write(
        self, target: str, webhook_id: str, body: bytes, *, taken: bool, answered: int | None, choice: str
    ) -> None:
        """One POST, on disk before anybody hears of it; taken a second time is no effect."""
        with self._lock:
            effect = taken and (target, webhook_id) not in self.taken
            line = {
                "target": target,
                "webhook_id": webhook_id,
                "at": time.time(),
                "asset_version_id": _asset_version(body),
                "body_sha256": hashlib.sha256(body).hexdigest(),
                "effect": effect,
                "answered": answered,
                "choice": choice,
            }
            with self.ledger.open("a") as file:
                file.write(json.dumps(line) + "\n")
            if effect:
                self.taken.add((target, webhook_id))

    def is_signed(self, target: str, headers: Mapping[str, str], body: bytes) -> bool:
        """After the specification: any accepted secret, any of the signatures, and a timestamp of now."""
        try:
            age = abs(time.time() - int(headers.get("webhook-timestamp") or ""))
        except ValueError:
            return False
        message = f"{headers.get('webhook-id')}.{headers.get('webhook-timestamp')}.".encode() + body
        given = [text.removeprefix("v1,") for text in headers.get("webhook-signature", "").split()]
        wanted = [
            base64.b64encode(
                hmac.digest(base64.b64decode(secret.removeprefix("whsec_")), message, hashlib.sha256)
            ).decode()
            for secret in self.setting(target, "secrets")
        ]
        return age <= TOLERANCE_SECONDS and any(hmac.compare_digest(g, w) for g in given for w in wanted)


def _asset_version(body: bytes) -> str | None:
    try:
        return str(json.loads(body)["data"]["asset_version_id"])
    except (ValueError, KeyError, TypeError):
        return None


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    receiver: Receiver

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        self.receiver.queries.append(query)
        served = self.receiver.served.get(path.removeprefix("/files/"))
        if served is None:
            self._answer(200 if path == "/livez" else 404)
        else:
            self._answer(200, text=served)

    def do_PUT(self) -> None:
        try:
            self.receiver.script(**json.loads(self._body()))
        except (ValueError, TypeError) as error:
            self._answer(422, text=str(error))
        else:
            self._answer(204)

    def do_POST(self) -> None:
        _, _, target = self.path.rpartition("/hooks/")
        headers = {name.lower(): value for name, value in self.headers.items()}
        body, webhook_id = self._body(), headers.get("webhook-id", "")
        if down := self.receiver.setting(target, "down"):
            self.receiver.write(target, webhook_id, body, taken=False, answered=None, choice="down")
            if down == "hang":
                self.receiver.hang(target)
            self._hang_up()
        elif not self.receiver.is_signed(target, headers, body):
            self.receiver.write(target, webhook_id, body, taken=False, answered=401, choice="401")
            self._answer(401)
        else:
            self._take(target, webhook_id, body)

    def _take(self, target: str, webhook_id: str, body: bytes) -> None:
        choice = self.receiver.choose(target, webhook_id)
        status, taken = CHOICES[choice]
        if choice == "slow":
            time.sleep(self.receiver.setting(target, "slow_seconds"))
        self.receiver.write(target, webhook_id, body, taken=taken, answered=status, choice=choice)
        if choice.startswith("hang"):
            self._wait_for_the_end()
        if status is None:
            self._hang_up()
        elif choice == "endless":
            self._drip()
        elif choice == "redirect":
            self._answer(status, location=f"{self.receiver.url}/hooks/elsewhere")
        elif choice == "429":
            self._answer(status, **{"retry-after": str(self.receiver.setting(target, "retry_after"))})
        elif status in {200, 409} and (said := self.receiver.setting(target, "answer")) is not None:
            text = json.dumps(said).replace("{url}", self.receiver.url)
            self._answer(status, text=text, **{"content-type": "application/json"})
        else:
            self._answer(status)

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("content-length", 0)))

    def _answer(self, status: int, *, text: str | bytes = "", **headers: str) -> None:
        body = text if isinstance(text, bytes) else text.encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _hang_up(self) -> None:
        """A reset, so that the other side knows at once."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True

    def _wait_for_the_end(self) -> None:
        self.connection.settimeout(HANG_SECONDS)
        self.connection.recv(1)

    def _drip(self) -> None:
        self.send_response(200)
        self.end_headers()
        try:
            while True:
                self.wfile.write(b"0123456789abcdef" * 4096)
        except OSError:
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # some of them hang on purpose
    request_queue_size = 128

    def handle_error(self, *_: object) -> None:
        """Whoever called was killed or lost patience: what the tests are about."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(*_)  # type: ignore[arg-type]


def open_server(receiver: Receiver, *, port: int = 0) -> Server:
    server = Server(("127.0.0.1", port), type("ReceiverHandler", (Handler,), {"receiver": receiver}))
    receiver.url = f"http://127.0.0.1:{server.server_address[1]}"
    return server


@contextmanager
def receiving(folder: Path, *, seed: int = 0) -> Iterator[Receiver]:
    """A receiver in a thread of this process, with its ledger in `folder`."""
    receiver = Receiver(folder / "deliveries.jsonl", seed=seed)
    server = open_server(receiver)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.script(down=False)
        server.shutdown()
        server.server_close()
        thread.join()


def main() -> None:
    parser = argparse.ArgumentParser(description="A scripted webhook receiver that counts effects.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--ledgers", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--secret", action="append", help="whsec_…, repeated while keys are rotated")
    asked = parser.parse_args()
    receiver = Receiver(asked.ledgers / "deliveries.jsonl", seed=asked.seed)
    if asked.secret:
        receiver.script(secrets=asked.secret)
    server = open_server(receiver, port=asked.port)
    sys.stdout.write(receiver.url + "\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main()
