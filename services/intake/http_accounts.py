"""Who may come in, over HTTP: workspaces, keys, and the links that sign a browser in."""

import hmac
from typing import Annotated, Any
from urllib.parse import urlencode
from uuid import UUID

import orjson
from fastapi import Depends, FastAPI, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from services.intake.acceptance import queries
from services.intake.http import Intake
from services.intake.workspaces import (
    change_workspace,
    create_key,
    create_link,
    create_workspace,
    keys_of,
    revoke_key,
    use_link,
)
from shared.events import Limits
from shared.http import SESSION_COOKIE, HttpProblem
from shared.identity import CHECK, LINK_SECONDS, ROLES, SESSION_SECONDS, Caller, May, sign
from shared.postgres import transaction, unavailable_when_away, workspace_transaction

OWNER = "owner of the installation"  # who holds the bootstrap token; it names no person
Word = Annotated[str, Field(min_length=1, max_length=120, pattern=r"^[^\x00-\x1f\x7f]+$")]


def _of_somebody(principal: str) -> str:
    if principal.casefold().startswith(CHECK):
        raise ValueError(f"{CHECK}… is how checks are named: take another name")
    return principal


Principal = Annotated[Word, AfterValidator(_of_somebody)]


class NewWorkspace(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: Word
    principal: Principal = "admin"
    limits: Limits = Limits()
    undo_seconds: float = Field(default=10.0, ge=0, le=3600, description="How long a decision can be taken back")


class WorkspaceChange(BaseModel):
    model_config = ConfigDict(extra="forbid")

    limits: Limits | None = None
    undo_seconds: float | None = Field(default=None, ge=0, le=3600)


class NewKeyAsked(BaseModel):
    model_config = ConfigDict(extra="forbid")

    principal: Principal
    roles: list[str] = Field(min_length=1, max_length=len(ROLES))
    workspace: UUID | None = Field(default=None, description="Only with the bootstrap token; else the caller's own")


class Key(BaseModel):
    key_id: str
    principal: str
    roles: list[str]
    active: bool


class NewLink(BaseModel):
    model_config = ConfigDict(extra="forbid")

    next: str = Field(default="/", max_length=500, description="Where the browser goes then: a path of ours")
    key_id: str | None = Field(default=None, description="Another's key: only for who manages keys")


def wire(app: FastAPI, intake: Intake, *, bootstrap_token: str) -> None:
    _wire_workspaces(app, intake, bootstrap_token)
    _wire_keys(app, intake, bootstrap_token)
    _wire_links(app, intake)


def _with_bootstrap(request: Request, token: str) -> bool:
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    return bool(token) and scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), token.encode())


def _need_bootstrap(request: Request, token: str) -> None:
    if not _with_bootstrap(request, token):
        raise HttpProblem(
            "forbidden" if token else "not_configured",
            "only whoever runs this installation may do that",
            where="Authorization",
            remedy="send the token that stands in CALOTYPE_BOOTSTRAP_TOKEN of the intake service",
            status=403,
        )


def _wire_workspaces(app: FastAPI, intake: Intake, token: str) -> None:
    pool = intake.pool
    reader = intake.gate.needs(May.READ)

    @app.post("/v1/workspaces", status_code=201)
    async def create(ask: NewWorkspace, request: Request) -> dict[str, Any]:
        """A workspace with a first admin key, whose token is told this once. With the bootstrap token only."""
        _need_bootstrap(request, token)
        made = await create_workspace(
            intake.outbox, name=ask.name, principal=ask.principal, limits=ask.limits, undo_seconds=ask.undo_seconds
        )
        return {
            "workspace": made.workspace,
            "name": ask.name,
            "key_id": made.key.key_id,
            "token": made.key.token,
            "principal": ask.principal,
            "roles": ["admin"],
        }

    @app.get("/v1/workspaces")
    async def workspaces(request: Request) -> list[dict[str, Any]]:
        """Every workspace for the bootstrap token, else the caller's own."""
        if _with_bootstrap(request, token):
            async with transaction(pool) as connection:
                rows = [row async for row in queries.workspaces(connection)]
        else:
            caller = await reader(request)
            async with workspace_transaction(pool, stage="intake", workspace=caller.workspace) as connection:
                rows = [await queries.workspace(connection, workspace=caller.workspace)]
        names = ("workspace", "name", "state", "undo_seconds")
        return [{name: row[name] for name in names} | {"limits": orjson.loads(row["limits"])} for row in rows]

    @app.patch("/v1/workspaces/{workspace}")
    async def change(workspace: UUID, ask: WorkspaceChange, request: Request) -> dict[str, Any]:
        """Sets limits or the undo window. With the bootstrap token only: nobody raises the limits they are under."""
        _need_bootstrap(request, token)
        await change_workspace(
            pool, intake.outbox, workspace, limits=ask.limits, undo_seconds=ask.undo_seconds, by=OWNER
        )
        return {"workspace": workspace, "changed": True}


def _wire_keys(app: FastAPI, intake: Intake, token: str) -> None:
    pool = intake.pool
    needs_manager = intake.gate.needs(May.MANAGE_KEYS)
    manager = Depends(needs_manager)

    @app.post("/v1/keys", status_code=201)
    async def create(ask: NewKeyAsked, request: Request) -> dict[str, Any]:
        """A key; its token is told this once."""
        if _with_bootstrap(request, token):
            if ask.workspace is None:
                raise HttpProblem("missing_field", "which workspace?", where="workspace", remedy="give its id")
            workspace, by = ask.workspace, OWNER
        else:
            caller = await needs_manager(request)
            if ask.workspace not in {None, caller.workspace}:
                raise HttpProblem("forbidden", "that is another workspace", where="workspace", remedy="leave it out")
            if any(May.RUN in ROLES.get(role, ()) for role in ask.roles):
                raise HttpProblem(
                    "forbidden",
                    "such a key acts on every workspace",
                    where="roles",
                    remedy="whoever runs this installation makes it, with the bootstrap token",
                )
            workspace, by = caller.workspace, caller.principal
        key = await create_key(pool, intake.outbox, workspace, principal=ask.principal, roles=ask.roles, by=by)
        about = {"workspace": workspace, "principal": ask.principal, "roles": ask.roles}
        return {"key_id": key.key_id, "token": key.token} | about

    @app.get("/v1/keys")
    async def keys(caller: Annotated[Caller, manager]) -> list[Key]:
        async with workspace_transaction(pool, stage="intake", workspace=caller.workspace) as connection:
            return [Key(**key.model_dump(exclude={"sha256"})) for key in await keys_of(connection, caller.workspace)]

    @app.delete("/v1/keys/{key_id}", status_code=204)
    async def revoke(key_id: str, caller: Annotated[Caller, manager]) -> None:
        """Ends the key, and every browser that is signed in with it."""
        await revoke_key(pool, intake.outbox, caller.workspace, key_id, by=caller.principal)


def _wire_links(app: FastAPI, intake: Intake) -> None:
    pool, gate = intake.pool, intake.gate
    reader = Depends(gate.needs(May.READ))

    @app.post("/v1/links", status_code=201)
    async def create(caller: Annotated[Caller, reader], ask: NewLink | None = None) -> dict[str, Any]:
        """An address that signs one browser in, once, within fifteen minutes."""
        ask = ask or NewLink()
        key_id = ask.key_id or caller.key_id
        if key_id != caller.key_id and not caller.may(May.MANAGE_KEYS):
            raise HttpProblem("forbidden", "that is another's key", where="key_id", remedy="leave it out")
        async with workspace_transaction(pool, stage="intake", workspace=caller.workspace) as connection:
            keys = {key.key_id for key in await keys_of(connection, caller.workspace) if key.active}
        if key_id not in keys:
            remedy = "calotype key list has those there are; leave it out for your own"
            raise HttpProblem("not_found", f"there is no active key {key_id!r}", where="key_id", remedy=remedy)
        link = await create_link(pool, caller.workspace, key_id)
        query = urlencode({"token": link, "next": _local(ask.next)})
        return {"url": f"{gate.public_url}/sign-in?{query}", "expires_in": LINK_SECONDS}

    @app.get("/sign-in", include_in_schema=False)
    async def sign_in(token: str = "", next: str = "/") -> Response:
        async with unavailable_when_away():
            key_id = await use_link(pool, token) if token else None
        if key_id is None:
            return HTMLResponse(USED_UP, status_code=410, headers={"Cache-Control": "no-store"})
        session = sign({"key_id": key_id}, secret=gate.secret, purpose="session", seconds=SESSION_SECONDS)
        answer = RedirectResponse(_local(next), status_code=303, headers={"Referrer-Policy": "no-referrer"})
        answer.set_cookie(
            SESSION_COOKIE,
            session,
            max_age=SESSION_SECONDS,
            httponly=True,
            samesite="lax",
            secure=gate.public_url.startswith("https://"),
        )
        return answer

    @app.post("/sign-out", include_in_schema=False)
    async def sign_out(request: Request) -> Response:
        await gate.caller(request)  # refuses another site's form
        answer = RedirectResponse("/", status_code=303)
        answer.delete_cookie(SESSION_COOKIE)
        return answer


def _local(path: str) -> str:
    """A path of this origin, whatever was asked for: a link must not lead elsewhere."""
    plain = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable() and "\\" not in path
    return path if plain else "/"


USED_UP = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Calotype</title>
<meta name="viewport" content="width=device-width">
<body style="font:16px/1.5 Georgia,serif;margin:15vh auto;max-width:34em">
<h1 style="font-weight:400">This link has been used, or its fifteen minutes are over.</h1>
<p>Make another one: <code>calotype link</code> prints it.</p></body></html>"""
