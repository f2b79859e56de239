"""The frame of every HTTP side: problem+json (RFC 9457), who calls, body cap, liveness and readiness."""

import hmac
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from typing import Any

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from opentelemetry import trace
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared import identity
from shared.current import queries as current
from shared.errors import Rejected, Unavailable
from shared.events import Problem
from shared.identity import Caller, May
from shared.observability import context_of, new_traceparent, traceparent_of
from shared.postgres import Pool, unavailable_when_away

log = structlog.get_logger()

SESSION_COOKIE = "calotype_session"
BODY_CAP = 1024 * 1024
RETRY_AFTER = "2"
Check = Callable[[], Awaitable[str | None]]

STATUS_OF = {
    "unauthenticated": 401,
    "forbidden": 403,
    "not_found": 404,
    "blob_missing": 404,
    "conflict": 409,
    "in_flight": 409,
    "gone": 410,
    "too_large": 413,
    "unsupported_media_type": 415,
    "too_many": 429,
    "quota_exceeded": 429,
}


class HttpProblem(Rejected):
    """A refusal with more to say than code, what, where and remedy: `extra` stands in the answer beside them."""

    def __init__(
        self, code: str, what: str, *, where: str = "", remedy: str = "", status: int | None = None, **extra: Any
    ) -> None:
        super().__init__(code, what, where, remedy)
        self.status = status or STATUS_OF.get(code, 422)
        self.extra = extra


def refusal(problems: Sequence[Problem]) -> HttpProblem:
    """All that is wrong at once, the first in the fields every problem has."""
    first = problems[0]
    told = [each.model_dump(mode="json", exclude_none=True) for each in problems]
    return HttpProblem(first.code, first.what, where=first.where or "", remedy=first.remedy, status=422, problems=told)


def problem(
    status: int,
    code: str,
    what: str,
    *,
    where: str = "",
    remedy: str = "",
    headers: Mapping[str, str] | None = None,
    **extra: Any,
) -> JSONResponse:
    """RFC 9457: a stable type, what, where, what to do."""
    body = {"type": f"urn:calotype:problem:{code}", "title": code.replace("_", " "), "status": status, "detail": what}
    body |= {name: value for name, value in (("where", where), ("remedy", remedy)) if value} | extra
    return JSONResponse(body, status, media_type="application/problem+json", headers=dict(headers or {}))


def unavailable(error: Unavailable) -> JSONResponse:
    """The answer while a dependency is away."""
    return problem(
        503, "unavailable", f"{error.dependency} is away; nothing was done",
        remedy="send the same request again", headers={"Retry-After": RETRY_AFTER},
    )  # fmt: skip


class Gate:
    """Finds out who calls and refuses who may not: `Depends(gate.needs(May.READ))`."""

    def __init__(self, pool: Pool | None, *, secret: str, public_url: str) -> None:
        self._pool = pool
        self.secret = secret
        self.public_url = public_url.rstrip("/")

    def needs(self, permission: May) -> Callable[[Request], Awaitable[Caller]]:
        async def dependency(request: Request) -> Caller:
            caller = await self.caller(request)
            if caller is None:
                raise HttpProblem(
                    "unauthenticated",
                    "this needs a key or a signed-in browser",
                    remedy="send `Authorization: Bearer ck_…`, or open the link `calotype link` prints",
                )
            if not caller.may(permission):
                able = ", ".join(role for role, may in identity.ROLES.items() if permission in may)
                raise HttpProblem(
                    "forbidden",
                    f"{caller.principal} may not {permission}",
                    remedy=f"ask an admin for a key with one of the roles: {able}",
                )
            return caller

        return dependency

    async def caller(self, request: Request) -> Caller | None:
        """Who calls, by key or session, or None.

        Raises:
            HttpProblem: a session tries to change something without its CSRF token, or the workspace is suspended.
        """
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return await self._by_key(token.strip())
        session = request.cookies.get(SESSION_COOKIE)
        if not session:
            return None
        payload = identity.verify(session, secret=self.secret, purpose="session")
        if payload is None:
            return None
        caller = await self._load(str(payload["key_id"]), session=session)
        if caller is not None and request.method not in {"GET", "HEAD", "OPTIONS"}:
            await self._refuse_forgery(request, session)
        return caller

    async def _by_key(self, token: str) -> Caller | None:
        parts = identity.split_key(token)
        return None if parts is None else await self._load(parts[0], secret=parts[1])

    async def _load(self, key_id: str, *, secret: str | None = None, session: str | None = None) -> Caller | None:
        if self._pool is None:
            return None
        async with unavailable_when_away():
            row = await current.key(self._pool, key_id=key_id)
        if row is None or not row["active"]:
            return None
        if secret is not None and not hmac.compare_digest(row["sha256"], identity.hash_secret(secret)):
            return None
        if row["state"] == "suspended":
            raise HttpProblem(
                "forbidden", f"the workspace {row['workspace_name']} is suspended", remedy="ask its admin"
            )
        return Caller(
            principal=row["principal"], workspace=row["workspace"], roles=tuple(row["roles"]), key_id=row["key_id"],
            workspace_name=row["workspace_name"], session=session,
        )  # fmt: skip

    async def _refuse_forgery(self, request: Request, session: str) -> None:
        """A cookie travels with requests other sites make; the token and the origin do not."""
        origin = request.headers.get("origin")
        if origin is not None and origin != "null" and origin.rstrip("/") not in self._origins(request):
            remedy = f"open the page at {self.public_url}, or send an API key"
            what = f"{origin} may not act for a signed-in browser"
            raise HttpProblem("forbidden", what, where="Origin", remedy=remedy)
        given = request.headers.get("x-csrf-token")
        if given is None and "form" in request.headers.get("content-type", ""):
            given = str((await request.form()).get("csrf", ""))
        expected = identity.csrf_token(session, secret=self.secret)
        if given is None or not hmac.compare_digest(given.encode(), expected.encode()):
            raise HttpProblem(
                "forbidden", "the page's token is missing or old", where="X-CSRF-Token", remedy="reload the page"
            )

    def _origins(self, request: Request) -> set[str]:
        host = request.headers.get("x-forwarded-host") or request.headers.get("host", "")
        return {self.public_url, f"{request.headers.get('x-forwarded-proto', 'http')}://{host}"}


def create_app(
    stage: str,
    *,
    checks: Mapping[str, Check],
    gate: Gate,
    resume: Callable[[str], Awaitable[bool]] | None = None,
    waiting: Callable[[], Mapping[str, str]] | None = None,
    refresh: Callable[[], Awaitable[None]] | None = None,
) -> FastAPI:
    """A stage's HTTP side with what all have: /livez, /readyz, /metrics, resume, problems instead of stack traces."""
    app = FastAPI(
        title=f"Calotype {stage}",
        docs_url=None,
        redoc_url=None,
        openapi_url=f"/v1/stages/{stage}/openapi.json",
        # One span per HTTP request, FastAPI's own; metrics and logs are ours.
        telemetry={"operation_spans": False, "metrics": False, "logs": False, "exclude": _untraced},
    )
    app.state.gate = gate

    @app.get("/livez", include_in_schema=False)
    async def livez() -> dict[str, str]:
        return {"status": "alive", "stage": stage}

    @app.get("/readyz", include_in_schema=False)
    @app.get(f"/v1/stages/{stage}/readyz", include_in_schema=False)
    async def readyz() -> JSONResponse:
        found = {name: await check() for name, check in checks.items()}
        found |= dict(waiting() if waiting else {})
        ready = not any(found.values())
        body = {"stage": stage, "ready": ready, "dependencies": {name: why or "ok" for name, why in found.items()}}
        return JSONResponse(body, 200 if ready else 503)

    @app.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        if refresh is not None:
            await refresh()
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    @app.post(f"/v1/stages/{stage}/consumers/{{group}}/resume")
    async def resume_consumer(group: str, request: Request) -> dict[str, Any]:
        """Takes up a consumer that stopped because too many records were bad. Needs a grant from the catalog."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        granted = identity.verify(token, secret=gate.secret, purpose="resume") if scheme.lower() == "grant" else None
        if granted is None or granted.get("group") != group:
            raise HttpProblem("forbidden", "this needs a grant", remedy=f"use `calotype dlq resume {group}`")
        return {"group": group, "resumed": bool(resume and await resume(group))}

    _explain_failures(app, stage)
    app.add_middleware(_BodyCap, cap=BODY_CAP)
    return app


def trace_of(request: Request) -> str:
    """The context of this HTTP request's span, on the caller's trace; what the request causes hangs below it."""
    span = trace.get_current_span()
    if span.get_span_context().is_valid:
        return traceparent_of(span)
    given = request.headers.get("traceparent")  # no traces are configured: the caller's still passes through
    return given if given and context_of(given) else new_traceparent()


def _untraced(scope: MutableMapping[str, Any]) -> bool:
    """Probes would drown the rest, and no span stays open as long as a stream."""
    return str(scope.get("path", "")).endswith(("/livez", "/readyz", "/metrics", "/v1/events"))


def _explain_failures(app: FastAPI, stage: str) -> None:
    @app.exception_handler(Rejected)
    async def on_rejected(_: Request, error: Rejected) -> JSONResponse:
        extra = error.extra if isinstance(error, HttpProblem) else {}
        status = error.status if isinstance(error, HttpProblem) else STATUS_OF.get(error.code, 422)
        return problem(status, error.code, error.what, where=error.where, remedy=error.remedy, **extra)

    @app.exception_handler(Unavailable)
    async def on_unavailable(_: Request, error: Unavailable) -> JSONResponse:
        log.warning("http.unavailable", dependency=error.dependency, cause=error.cause)
        return unavailable(error)

    @app.exception_handler(RequestValidationError)
    async def on_invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        problems = describe_validation(error.errors())
        first = problems[0]
        return problem(
            422, "invalid_request", first["what"], where=first["where"], remedy=first["remedy"], problems=problems
        )

    @app.exception_handler(HTTPException)
    async def on_http(_: Request, error: HTTPException) -> JSONResponse:
        code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "http_error")
        return problem(error.status_code, code, str(error.detail), headers=error.headers)

    @app.exception_handler(Exception)
    async def on_bug(request: Request, error: Exception) -> JSONResponse:
        log.error("http.failed", path=request.url.path, exc_info=error)
        return problem(
            500,
            "internal",
            f"{stage} failed; this is our fault and it was logged",
            remedy="try once more, then report it",
        )


def describe_validation(errors: Sequence[Any]) -> list[dict[str, str]]:
    """pydantic's findings as what, where, what to do."""
    remedies = {
        "missing": "add this field",
        "extra_forbidden": "remove this field, or check its spelling",
        "json_invalid": "send valid JSON",
    }
    return [
        {
            "code": str(error["type"]),
            "what": str(error["msg"]),
            "where": ".".join(str(part) for part in error["loc"] if part != "body") or "body",
            "remedy": remedies.get(str(error["type"]), "correct this value"),
        }
        for error in errors
    ]


class _BodyCap:
    """Refuses a body over the cap while it arrives, whatever Content-Length said."""

    def __init__(self, app: ASGIApp, *, cap: int) -> None:
        self.app = app
        self.cap = cap

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        cap = scope.get("state", {}).get("body_cap", self.cap)
        seen = 0
        started = False

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > cap:
                raise HttpProblem(
                    "too_large",
                    f"the body is larger than {cap:,} bytes",
                    where="body",
                    remedy="send less at once, or a batch file",
                )
            return message

        async def watched(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self.app(scope, counted, watched)
        except HttpProblem as error:
            if started:
                raise
            answer = problem(error.status, error.code, error.what, where=error.where, remedy=error.remedy)
            await answer(scope, receive, send)
