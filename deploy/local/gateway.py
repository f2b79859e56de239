"""One address for six services: a reverse proxy that decides by path and passes bytes on as they come.

Nothing is collected: an upload goes through while it arrives, a stream of server-sent events while it lasts. In a
cluster the ingress does this from the same table.
"""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import httpx
import uvicorn

from deploy.local.errors import CannotStart

# No prefix is another's beginning. What is not named here is the catalog's, pages included.
ROUTES: Mapping[str, tuple[str, ...]] = {
    "intake": (
        "/v1/requests",
        "/v1/batches",
        "/v1/workspaces",
        "/v1/keys",
        "/v1/library",
        "/v1/usage",
        "/v1/links",
        "/v1/sources",
        "/sign-in",
        "/sign-out",
    ),
    "inference": (
        "/v1/queue",
        "/v1/explain-route",
        "/v1/backends",
        "/v1/uncertain",
        "/v1/hooks",
        "/v1/replays",
        "/v1/previews",
    ),
    "postprocess": ("/v1/derivatives",),
    "publisher": ("/v1/publications", "/v1/targets"),
}
EVERYTHING_ELSE = "catalog"
STAGES_PREFIX = "/v1/stages/"

# Headers of one connection, not of the message (RFC 9110, 7.6.1).
HOP_BY_HOP = {
    b"connection",
    b"keep-alive",
    b"proxy-authenticate",
    b"proxy-authorization",
    b"proxy-connection",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
}
# A stream of events may be silent for long; a service that cannot be reached at all is said so soon.
TIMEOUTS = {"connect": 5.0, "read": None, "write": 60.0, "pool": 5.0}

Headers = list[tuple[bytes, bytes]]


def stage_of(path: str) -> str:
    """Return the stage that serves `path`."""
    if path.startswith(STAGES_PREFIX):
        return path.removeprefix(STAGES_PREFIX).partition("/")[0]
    for stage, prefixes in ROUTES.items():
        if any(path == prefix or path.startswith(prefix + "/") for prefix in prefixes):
            return stage
    return EVERYTHING_ELSE


class Gateway:
    """Listens on one loopback port for as long as it is started."""

    def __init__(self, *, port: int, stages: Mapping[str, int]) -> None:
        self.port = port
        self._stages = stages
        # Below uvicorn's 5 s, so that we let go of an idle connection before the service does.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=64, keepalive_expiry=3)
        self._upstream = httpx.AsyncHTTPTransport(limits=limits, trust_env=False)
        self._server: uvicorn.Server | None = None
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen, or say that somebody else does."""
        # With the protocol named, or asyncio does not turn Nagle's algorithm off and each small answer waits 40 ms.
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", self.port))
        except OSError as error:
            listener.close()
            raise CannotStart(
                f"Port {self.port} cannot be listened on: {error.strerror}.",
                remedy="Name a free one with --port, or leave --port out.",
            ) from error
        config = uvicorn.Config(
            self,
            log_config=None,
            access_log=False,
            lifespan="off",
            interface="asgi3",
            ws="none",
            proxy_headers=False,  # a claim of the client's is passed on beside what we saw, not believed in its place
            server_header=False,
            date_header=False,
            timeout_graceful_shutdown=1,
        )
        self._server = _Server(config)
        self._serving = asyncio.create_task(self._server.serve(sockets=[listener]))

    async def stop(self) -> None:
        """Stop listening, and end what still streams."""
        if self._server is not None and self._serving is not None:
            self._server.should_exit = True
            await self._serving
        await self._upstream.aclose()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request with its stage's answer."""
        if scope["type"] != "http":
            return
        stage = stage_of(scope["path"])
        port = self._stages.get(stage)
        if port is None:
            await _refuse(send, 404, "not_found", f"there is no stage {stage!r}")
            return
        try:
            response = await self._ask(port, scope, receive)
        except httpx.TransportError:
            await _refuse(send, 503, "unavailable", f"the {stage} service is not answering; it is being restarted")
            return
        try:
            headers = _message_headers(response.headers.raw)
            await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
            await _copy(response, receive, send)
        finally:
            await response.aclose()

    async def _ask(self, port: int, scope: Any, receive: Any) -> httpx.Response:
        path = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
        url = httpx.URL(scheme="http", host="127.0.0.1", port=port, raw_path=path)
        headers = _message_headers(scope["headers"]) + _forwarded(scope)
        has_body = any(name in {b"content-length", b"transfer-encoding"} for name, _ in scope["headers"])
        again = scope["method"] in {"GET", "HEAD"} and not has_body
        while True:
            request = httpx.Request(
                scope["method"],
                url,
                headers=headers,
                content=_body(receive) if has_body else None,
                extensions={"timeout": TIMEOUTS},
            )
            try:
                return await self._upstream.handle_async_request(request)
            except (httpx.RemoteProtocolError, httpx.ReadError):
                # A kept connection that the service closed just as we used it.
                if not again:
                    raise
                again = False


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: the supervisor decides the order of the end."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _body(receive: Any) -> AsyncIterator[bytes]:
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise httpx.ReadError("the client left in the middle of its request")
        more = message.get("more_body", False)
        yield message.get("body", b"")


async def _copy(response: httpx.Response, receive: Any, send: Any) -> None:
    """Pass the answer's bytes on until they end or the client leaves."""

    async def pass_on() -> None:
        with contextlib.suppress(httpx.TransportError):  # the answer stays cut short, which the client sees
            async for chunk in response.aiter_raw():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})

    async def until_gone() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    tasks = {asyncio.create_task(pass_on()), asyncio.create_task(until_gone())}
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _message_headers(headers: Headers) -> Headers:
    named = {
        token.strip().lower() for name, value in headers if name.lower() == b"connection" for token in value.split(b",")
    }
    return [(name, value) for name, value in headers if name.lower() not in HOP_BY_HOP | named]


def _forwarded(scope: Any) -> Headers:
    """Return who asked and under which name, keeping what a proxy in front of us already said of the latter."""
    known = {name.lower() for name, _ in scope["headers"]}
    host = next((value for name, value in scope["headers"] if name == b"host"), b"")
    added = [(b"x-forwarded-for", (scope["client"] or ("unknown", 0))[0].encode())]
    for name, value in ((b"x-forwarded-proto", scope["scheme"].encode()), (b"x-forwarded-host", host)):
        if name not in known:
            added.append((name, value))
    return added


async def _refuse(send: Any, status: int, code: str, what: str) -> None:
    """Answer in our own name, as the stages do (RFC 9457)."""
    problem = {
        "type": f"urn:calotype:problem:{code}",
        "title": code.replace("_", " "),
        "status": status,
        "detail": what,
    }
    if status == 503:
        problem["remedy"] = "try again in a moment; `calotype status` shows what is wrong"
    headers = [(b"content-type", b"application/problem+json"), (b"retry-after", b"1")]
    await send({"type": "http.response.start", "status": status, "headers": headers[: 2 if status == 503 else 1]})
    await send({"type": "http.response.body", "body": json.dumps(problem).encode()})
