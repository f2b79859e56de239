"""A scripted image provider: OpenAI-compatible over real HTTP, with a ledger of every call and charge of its own.

`python -m tests.servers.provider --port 0 --ledgers DIR --seed N [--weights JSON] [--takes-seed]` listens on loopback
and prints its base URL (`http://127.0.0.1:PORT/v1`). Inference calls it with `inference_environment` and a backend
of kind `openai` with `"call": {"provider": "acme"}` in the routing table.

`POST /v1/images/generations` and, for a form with pictures, `/v1/images/edits` obey the script, which `GET /script`
shows and `PUT /script` changes, field by field:
- `weights`: choice → weight. What the n-th call gets follows from the seed and n alone; n goes on after a restart.
- `next`: choices for the very next calls, in order, before the weights count again.
- `by_prompt`: prompt → what every call with it gets, before anything else.
- `retry_after` (seconds, 1), `slow_seconds` (0.5), `hang_seconds` (3600), `takes_seed` (false: refused, as by OpenAI).

Charged choices: `ok`, `url` (an address instead of base64), `slow`, `charge_then_hang`, `charge_then_reset`,
`charge_then_502` (a gateway gave up waiting), `malformed` (JSON cut short), `empty` (200 and no body), `no_images`,
`wrong_image` (other dimensions), `not_an_image`, `cut_image` (half a PNG), `cut_body` (the connection ends within),
`gone` (an address that answers 404), `wrong_type` (a good answer labelled text/plain), `page` (200 and a page of HTML),
`two_images` (made and charged twice).
Not charged: `429`, `429_retry_after`, `429_date` (Retry-After as a date), `quota` (429 insufficient_quota), `500`,
`503`, `hang`, `reset`, `moderation`, `content_policy`, `400`, `401`, `403`.

Other providers' servers stand beside this one: they answer in their own forms, and share the script and the ledgers.

`DIR/calls.jsonl` has every call with its prompt, `DIR/charges.jsonl` every billed one, written before the answer
leaves. A picture is a real PNG of the asked size with colours drawn from its charge: no two calls give the same bytes.
"""

import argparse
import base64
import hashlib
import json
import re
import select
import socket
import struct
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import HTTP
from email.utils import formatdate
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random
from threading import Lock, Thread
from typing import Any, Self

# What a picture of a model costs, in USD; of any other `PRICE`.
PRICE = "0.04"
PRICES: Mapping[str, str] = {
    "house": "0.01",
    "core": "0.03",
    "stability-ai/sdxl": "0.005",
    "stability.stable-image-core-v1:1": "0.035",
    "amazon.nova-canvas-v1:0": "0.06",
}
CHARGED = (
    "ok",
    "url",
    "slow",
    "charge_then_hang",
    "charge_then_reset",
    "charge_then_502",
    "malformed",
    "empty",
    "no_images",
    "wrong_image",
    "not_an_image",
    "cut_image",
    "cut_body",
    "gone",
    "wrong_type",
    "page",
    "two_images",
)
# What these answer: status, type, code, message, as OpenAI documents them.
REFUSALS: Mapping[str, tuple[int, str, str | None, str]] = {
    "429": (429, "requests", "rate_limit_exceeded", "Rate limit reached for images per minute."),
    "429_retry_after": (429, "requests", "rate_limit_exceeded", "Rate limit reached for images per minute."),
    "429_date": (429, "requests", "rate_limit_exceeded", "Rate limit reached for images per minute."),
    "quota": (429, "insufficient_quota", "insufficient_quota", "You exceeded your current quota."),
    "500": (500, "server_error", None, "The server had an error while processing your request."),
    "503": (503, "server_error", None, "The engine is currently overloaded, please try again later."),
    "moderation": (400, "image_generation_user_error", "moderation_blocked", "Rejected by the safety system."),
    "content_policy": (400, "invalid_request_error", "content_policy_violation", "Rejected by the safety system."),
    "400": (400, "invalid_request_error", "invalid_value", "Invalid value: 'size'."),
    "401": (401, "invalid_request_error", "invalid_api_key", "Incorrect API key provided."),
    "403": (403, "invalid_request_error", "unsupported_country_region_territory", "Country not supported."),
}
NAME = "acme"
Headers = Mapping[str, str] | None
KNOWN_FIELDS = {"model", "prompt", "n", "size", "quality", "user", "background", "output_format", "moderation"}


@dataclass(slots=True)
class Script:
    """What the provider does; see the module."""

    weights: dict[str, float] = field(default_factory=lambda: {"ok": 1.0})
    next: list[str] = field(default_factory=list)
    by_prompt: dict[str, str] = field(default_factory=dict)
    retry_after: float = 1
    slow_seconds: float = 0.5
    hang_seconds: float = 3600
    takes_seed: bool = False

    hold: bool = False
    choices: tuple[str, ...] = ()

    def shown(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__ if name != "choices"}

    def change(self, fields: Mapping[str, Any]) -> None:
        """Raises ValueError, and changes nothing, where a field or a choice is not known."""
        unknown = fields.keys() - self.shown().keys()
        unknown |= {*fields.get("weights", ()), *fields.get("next", ())} - set(self.choices)
        if unknown:
            raise ValueError(f"not known: {', '.join(sorted(unknown))}")
        for name, value in fields.items():
            setattr(self, name, value)


@dataclass(frozen=True, slots=True)
class Asked:
    """A call that was understood."""

    model: str
    width: int
    height: int
    pictures: int = 0
    prompt: str = ""
    sha256: tuple[str, ...] = ()
    """Of the pictures, where they come as they are."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call as it was asked and what the script chose for it."""

    number: int
    choice: str
    attempt_id: str
    model: str
    width: int
    height: int
    is_charged: bool
    pictures: int = 0

    @property
    def charge_id(self) -> str | None:
        return f"charge-{self.number:06d}" if self.is_charged else None

    @property
    def charges(self) -> int:
        return self.is_charged + (self.choice == "two_images")


class Provider:
    """Listens while it is entered. Everything it knows lies in `ledgers`."""

    charged: tuple[str, ...] = CHARGED
    refusals: Mapping[str, Any] = REFUSALS
    prefix = "/v1"

    def __init__(
        self, ledgers: Path, *, port: int = 0, seed: int = 0, weights: Mapping[str, float] | None = None
    ) -> None:
        ledgers.mkdir(parents=True, exist_ok=True)
        self.script = Script(choices=self.choices())
        if weights:
            self.script.change({"weights": dict(weights)})
        self._calls, self._charges = ledgers / "calls.jsonl", ledgers / "charges.jsonl"
        self._seed, self._lock = seed, Lock()
        self._number = len(_lines(self._calls))
        self._files: dict[str, bytes] = {}
        self._server = _Server(("127.0.0.1", port), type("Bound", (self.handler(),), {"provider": self}))
        self._thread = Thread(target=self.serve, name="provider", daemon=True)

    @classmethod
    def handler(cls) -> type["Handler"]:
        return Handler

    @classmethod
    def choices(cls) -> tuple[str, ...]:
        return (*cls.charged, *cls.refusals, "hang", "reset")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}{self.prefix}"

    def calls(self) -> list[dict[str, Any]]:
        return _lines(self._calls)

    def charges(self) -> list[dict[str, Any]]:
        return _lines(self._charges)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def serve(self) -> None:
        self._server.serve_forever(poll_interval=0.05)

    def choose(self, asked: Asked, *, attempt_id: str) -> Call:
        """The next call; it stands in the ledgers before anything is answered."""
        with self._lock:
            self._number += 1
            choice = self.script.by_prompt.get(asked.prompt) or self._next()
            is_charged = choice in self.charged
            call = Call(
                self._number, choice, attempt_id, asked.model, asked.width, asked.height, is_charged, asked.pictures
            )
            now = time.time()
            for again in range(call.charges):
                charge_id = f"{call.charge_id}{'/2' * again}"
                charge = {"charge_id": charge_id, "at": now, "attempt_id": attempt_id, "model": asked.model}
                _append(self._charges, {**charge, "outcome": choice, "amount": PRICES.get(asked.model, PRICE)})
            line = {"call": call.number, "at": now, "attempt_id": attempt_id, "model": asked.model, "choice": choice}
            said = {"size": f"{asked.width}x{asked.height}", "charge_id": call.charge_id, "pictures": asked.pictures}
            _append(self._calls, {**line, **said, "prompt": asked.prompt, "sha256": asked.sha256})
        return call

    def picture(self, call: Call) -> bytes:
        other = 16 if call.choice == "wrong_image" else 0
        data = png(call.width + other, call.height, seed=f"{self._seed}/{call.charge_id}")
        if call.choice == "cut_image":
            return data[: len(data) // 2]
        return b"no picture at all" if call.choice == "not_an_image" else data

    def publish(self, call: Call) -> str:
        """The address of the call's picture, for answers that name one."""
        path = f"/files/{call.charge_id}.png"
        if call.choice != "gone":
            self._files[path] = self.picture(call)
        return f"http://127.0.0.1:{self._server.server_address[1]}{path}"

    def file(self, path: str) -> bytes | None:
        return self._files.get(path)

    def _next(self) -> str:
        return self.script.next.pop(0) if self.script.next else self._draw(self._number)

    def _draw(self, number: int) -> str:
        choices, weights = zip(*sorted(self.script.weights.items()), strict=True)
        found: str = Random(f"{self._seed}/{number}").choices(choices, weights)[0]
        return found


class NotUnderstood(Exception):
    """What was asked is no call of this provider's."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_: object) -> None:
        """Clients leave in the middle: that is what they are tested for."""


class Handler(BaseHTTPRequestHandler):
    """OpenAI's forms; what `answer_of` and `refuse` say is what other providers say otherwise."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    provider: Provider

    def do_GET(self) -> None:
        if self.path == "/script":
            self._json(200, self.provider.script.shown())
        elif self.path == "/v1/models":
            self._json(200, {"object": "list", "data": []})
        elif (data := self.provider.file(self.path)) is not None:
            self._send(200, data, "image/png")
        else:
            self._refuse(404, "invalid_request_error", None, f"Invalid URL (GET {self.path})")

    def do_PUT(self) -> None:
        try:
            self.provider.script.change(json.loads(self._body()))
        except ValueError as error:
            self._refuse(400, "invalid_request_error", None, str(error))
        else:
            self._json(200, {})

    def do_POST(self) -> None:
        try:
            asked = self.asked(self._body())
        except NotUnderstood as error:
            self.say(*error.args)
        else:
            self._obey(self.provider.choose(asked, attempt_id=self.headers.get("x-client-request-id", "")))

    def asked(self, body: bytes) -> Asked:
        """The call. Raises NotUnderstood with what `say` takes, for what is no call."""
        if self.path not in {"/v1/images/generations", "/v1/images/edits"}:
            raise NotUnderstood(404, "invalid_request_error", None, f"Invalid URL (POST {self.path})")
        if not self.has_key():
            raise NotUnderstood(401, "invalid_request_error", None, "You didn't provide an API key.")
        files: dict[str, bytes] = {}
        if self.path.endswith("edits"):
            form, files = self.form(body)
            if not {"image", "image[]"} & files.keys():
                raise NotUnderstood(400, "invalid_request_error", "missing_required_parameter", "No image.")
            asked = self._understood({**form, "n": int(form.get("n", "1"))})
        else:
            asked = self._understood(json.loads(body))
        if isinstance(asked, str):
            raise NotUnderstood(400, "invalid_request_error", "unknown_parameter", asked)
        width, height = (int(part) for part in asked["size"].split("x"))
        hashes = tuple(hashlib.sha256(data).hexdigest() for data in files.values())
        return Asked(asked["model"], width, height, len(files), asked["prompt"], hashes)

    def has_key(self) -> bool:
        return re.fullmatch(r"Bearer \S+", self.headers.get("authorization", "")) is not None

    def form(self, body: bytes) -> tuple[dict[str, str], dict[str, bytes]]:
        """Fields and files of a multipart form; one name's last file wins."""
        head = f"Content-Type: {self.headers['content-type']}\r\n\r\n".encode()
        fields, files = {}, {}
        message = BytesParser(_class=EmailMessage, policy=HTTP).parsebytes(head + body)
        for each in message.iter_parts():
            name, data = str(each.get_param("name", header="content-disposition")), each.get_payload(decode=True)
            assert isinstance(data, bytes)
            if each.get_filename() is None:
                fields[name] = data.decode()
            else:
                files[name] = data
        return fields, files

    def _understood(self, asked: dict[str, Any]) -> dict[str, Any] | str:
        """The request, or what is wrong with it."""
        known = KNOWN_FIELDS | ({"seed", "negative_prompt"} if self.provider.script.takes_seed else set())
        if unknown := asked.keys() - known:
            return f"Unknown parameter: {', '.join(sorted(unknown))}."
        if missing := {"model", "prompt", "size"} - asked.keys():
            return f"Missing required parameter: {', '.join(sorted(missing))}."
        if not re.fullmatch(r"\d{1,5}x\d{1,5}", asked["size"]) or asked.get("n", 1) != 1:
            return "Invalid value for size or n."
        return asked

    def _obey(self, call: Call) -> None:
        self.request_id = f"req_{hashlib.sha256(str(call.number).encode()).hexdigest()[:24]}"
        script = self.provider.script
        if call.choice in self.provider.refusals:
            later = formatdate(time.time() + script.retry_after, usegmt=True)
            when = {"429_retry_after": f"{script.retry_after:g}", "429_date": later}.get(call.choice)
            self.say(*self.provider.refusals[call.choice], headers={"Retry-After": when} if when else None)
        elif call.choice in ODD:
            ODD[call.choice](self)
        else:
            if call.choice == "slow":
                time.sleep(script.slow_seconds)
            self._answer(call)

    def say(self, *words: Any, headers: Headers = None) -> None:
        """A refusal in this provider's form of words."""
        self._refuse(*words, headers=headers)

    def answer_of(self, call: Call) -> Any:
        """The JSON of a success."""
        if call.choice in {"url", "gone"}:
            data = [{"url": self.provider.publish(call)}]
        else:
            data = [{"b64_json": base64.b64encode(self.provider.picture(call)).decode()}] * (call.charges or 1)
        return {"created": int(time.time()), "data": [] if call.choice == "no_images" else data}

    def _answer(self, call: Call) -> None:
        words = json.dumps(self.answer_of(call)).encode()
        if call.choice == "malformed":
            words = words[:-3]
        if call.choice == "cut_body":
            self._send(self.success, words[: len(words) // 2], "application/json", promised=len(words))
            self.close_connection = True
            return
        media_type = "text/plain" if call.choice == "wrong_type" else "application/json"
        self._send(self.success, b"" if call.choice == "empty" else words, media_type)

    def _hang(self) -> None:
        """Says nothing until the client has left, or the script's patience is over."""
        select.select([self.connection], [], [], self.provider.script.hang_seconds)
        self.close_connection = True

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # The file holds the socket open; it is closed, and with that reset, only when let go.
        self.rfile.close()
        self.connection.close()
        self.close_connection = True

    def _page(self) -> None:
        self._send(200, b"<html><h1>Welcome to the guest network</h1></html>", "text/html")

    def _gateway(self) -> None:
        self._send(502, b"<html><h1>502 Bad Gateway</h1></html>", "text/html")

    # -- HTTP

    request_id: str | None = None
    id_header: str | None = "x-request-id"
    success = 200

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("content-length", 0)))

    def _refuse(self, status: int, kind: str, code: str | None, message: str, *, headers: Headers = None) -> None:
        error = {"message": message, "type": kind, "param": None, "code": code}
        self._json(status, {"error": error}, headers=headers)

    def _json(self, status: int, content: Any, *, headers: Headers = None) -> None:
        self._send(status, json.dumps(content).encode(), "application/json", headers=headers)

    def _send(
        self, status: int, data: bytes, media_type: str, *, promised: int | None = None, headers: Headers = None
    ) -> None:
        self.send_response(status)
        self.send_header("content-type", media_type)
        self.send_header("content-length", str(len(data) if promised is None else promised))
        if self.request_id is not None and self.id_header is not None:
            self.send_header(self.id_header, self.request_id)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """The ledgers say it."""


ODD: Mapping[str, Callable[[Handler], None]] = {
    "hang": Handler._hang,
    "charge_then_hang": Handler._hang,
    "reset": Handler._reset,
    "charge_then_reset": Handler._reset,
    "charge_then_502": Handler._gateway,
    "page": Handler._page,
}


def inference_environment(url: str, *, key: str = "sk-test") -> dict[str, str]:
    """What makes an inference service call this provider; `url` is its base, ending in /v1."""
    return {"CALOTYPE_PROVIDERS": json.dumps({NAME: {"url": url, "key": key}})}


def png(width: int, height: int, *, seed: str) -> bytes:
    """A checkerboard in two colours of the seed: one bit a pixel, so that only the palette is made anew."""
    colours = hashlib.sha256(seed.encode()).digest()[:6]
    head = struct.pack(">IIBBBBB", width, height, 1, 3, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"PLTE", colours), (b"IDAT", _board(width, height)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, data) for name, data in chunks)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


@lru_cache(maxsize=64)
def _board(width: int, height: int) -> bytes:
    row = (b"\x00" + b"\xff\x00" * width)[: 1 + (width + 7) // 8]
    inverse = (b"\x00" + b"\x00\xff" * width)[: len(row)]
    return zlib.compress(b"".join(row if y // 8 % 2 else inverse for y in range(height)))


def _append(path: Path, line: Mapping[str, Any]) -> None:
    with path.open("a") as ledger:
        ledger.write(json.dumps(line) + "\n")


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def main(kind: type[Provider] = Provider) -> None:
    """Serves one kind of provider as a program; the other kinds' modules call it too."""
    parser = argparse.ArgumentParser(description="A scripted image provider; see the module.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--ledgers", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--weights", type=json.loads, help="JSON: choice → weight")
    parser.add_argument("--takes-seed", action="store_true")
    asked = parser.parse_args()
    provider = kind(asked.ledgers, port=asked.port, seed=asked.seed, weights=asked.weights)
    provider.script.takes_seed = asked.takes_seed
    print(provider.url, flush=True)  # noqa: T201  # whoever started it reads where it listens
    provider.serve()


if __name__ == "__main__":
    main()
