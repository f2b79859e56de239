"""The gateway: which stage gets what, and that bytes go through as they come."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import uvicorn

from deploy.local.gateway import Gateway, stage_of


@pytest.mark.parametrize(
    ("path", "stage"),
    [
        ("/v1/requests", "intake"),
        ("/v1/requests/1/cancel", "intake"),
        ("/v1/requestsomething", "catalog"),
        ("/sign-in", "intake"),
        ("/v1/queue", "inference"),
        ("/v1/explain-route", "inference"),
        ("/v1/backends", "inference"),
        ("/v1/previews/1", "inference"),
        ("/v1/publications/1", "publisher"),
        ("/v1/targets", "publisher"),
        ("/v1/jobs", "catalog"),
        ("/v1/events", "catalog"),
        ("/", "catalog"),
        ("/review", "catalog"),
        ("/v1/stages/prompt/readyz", "prompt"),
        ("/v1/stages/nobody/readyz", "nobody"),
    ],
)
def test_a_path_belongs_to_one_stage(path: str, stage: str) -> None:
    assert stage_of(path) == stage


@dataclass
class Upstream:
    """A service that remembers what it was asked and answers a piece only when the test lets it."""

    port: int = 0
    scope: dict[str, Any] = field(default_factory=dict)
    body: bytes = b""
    got_first_piece: asyncio.Event = field(default_factory=asyncio.Event)
    may_go_on: asyncio.Event = field(default_factory=asyncio.Event)
    reader_left: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scope = scope
        if scope["path"] == "/v1/events":
            await self._stream(receive, send)
            return
        more = True
        while more:
            message = await receive()
            self.body += message.get("body", b"")
            more = message.get("more_body", False)
            self.got_first_piece.set()
        headers = [(b"x-one", b"1"), (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2"), (b"connection", b"x-one")]
        await send({"type": "http.response.start", "status": 418, "headers": headers})
        await send({"type": "http.response.body", "body": b"short and stout"})

    async def _stream(self, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
        await self.may_go_on.wait()
        await send({"type": "http.response.body", "body": b"data: 2\n\n", "more_body": True})
        while (await receive())["type"] != "http.disconnect":
            pass
        self.reader_left.set()


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    app = Upstream()
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    app.port = listener.getsockname()[1]
    server = _Server(uvicorn.Config(app, log_config=None, lifespan="off", timeout_graceful_shutdown=1))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    yield app
    server.should_exit = True
    await serving


@pytest.fixture
async def client(upstream: Upstream) -> AsyncIterator[httpx.AsyncClient]:
    gateway = Gateway(port=free_port(), stages={"catalog": upstream.port, "intake": free_port()})
    await gateway.start()
    address = f"http://127.0.0.1:{gateway.port}"
    async with httpx.AsyncClient(base_url=address, timeout=10, trust_env=False) as opened:
        yield opened
    await gateway.stop()


async def test_path_and_query_arrive_as_they_were_written(client: httpx.AsyncClient, upstream: Upstream) -> None:
    await client.get("/v1/assets/a%2Fb%20c?tag=%C3%A9&tag=x+y")
    assert upstream.scope["raw_path"] == b"/v1/assets/a%2Fb%20c"
    assert upstream.scope["query_string"] == b"tag=%C3%A9&tag=x+y"


async def test_the_answer_is_the_stages_own(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/jobs")
    assert answer.status_code == 418
    assert answer.text == "short and stout"
    assert answer.headers.get_list("set-cookie") == ["a=1", "b=2"]
    assert "x-one" not in answer.headers, "named in `connection`, so meant for the gateway alone"


async def test_a_stage_learns_who_asked_and_under_which_name(client: httpx.AsyncClient, upstream: Upstream) -> None:
    await client.get("/", headers={"x-forwarded-proto": "https", "x-forwarded-for": "203.0.113.9", "te": "trailers"})
    headers = [(name, value) for name, value in upstream.scope["headers"] if name.startswith(b"x-forwarded")]
    host = client.base_url.netloc
    assert headers == [
        (b"x-forwarded-proto", b"https"),
        (b"x-forwarded-for", b"203.0.113.9"),
        (b"x-forwarded-for", b"127.0.0.1"),
        (b"x-forwarded-host", host),
    ]
    assert dict(upstream.scope["headers"])[b"host"] == host
    assert b"te" not in dict(upstream.scope["headers"])


async def test_an_upload_goes_on_while_it_arrives(client: httpx.AsyncClient, upstream: Upstream) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"first,"
        await asyncio.wait_for(upstream.got_first_piece.wait(), 10)
        yield b"second"

    answer = await client.post("/v1/assets", content=pieces())
    assert answer.status_code == 418
    assert upstream.body == b"first,second"


async def test_events_go_through_one_by_one_and_end_when_the_reader_leaves(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    async with client.stream("GET", "/v1/events") as answer:
        events = answer.aiter_bytes()
        assert await anext(events) == b"data: 1\n\n"
        upstream.may_go_on.set()
        assert await anext(events) == b"data: 2\n\n"
    await asyncio.wait_for(upstream.reader_left.wait(), 10)


async def test_a_stage_that_is_away_is_named_with_what_to_do(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/requests")
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["retry-after"] == "1"
    assert "intake" in answer.json()["detail"]
    assert "calotype status" in answer.json()["remedy"]


async def test_an_unknown_stage_is_not_found(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/stages/nobody/readyz")
    assert answer.status_code == 404
    assert "nobody" in answer.json()["detail"]
