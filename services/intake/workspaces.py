"""Workspaces and their keys. A change travels as the workspace's whole newest state: key hashes, never a secret."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from services.intake.acceptance import queries
from services.intake.writing import writing
from shared import ids
from shared.audit import acted
from shared.current import keep_workspaces
from shared.errors import Rejected
from shared.events import ApiKey, Limits, WorkspaceChanged
from shared.identity import LINK_SECONDS, ROLES, NewKey, hash_secret, new_key
from shared.library.problems import suggest
from shared.outbox import Outbox, Transaction
from shared.postgres import Connection, Pool, transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A workspace with its first key; the only moment the key's secret is known."""

    workspace: UUID
    key: NewKey


async def create_workspace(outbox: Outbox, *, name: str, principal: str, limits: Limits, undo_seconds: float) -> Made:
    """Raises Rejected `conflict` if the name is taken, with the id of the workspace that has it as `where`."""
    key = new_key()
    async with outbox.transaction() as running:
        await queries.guard_names(running.connection)
        taken = await queries.workspace_named(running.connection, name=name)
        if taken is not None:
            raise Rejected("conflict", f"there is a workspace {name!r} already", str(taken), "use it, or another name")
        workspace = ids.new_workspace_id()
        state = WorkspaceChanged.of(
            cause_id=f"{workspace} 1",
            occurred_at=await queries.now(running.connection),
            workspace=workspace,
            name=name,
            limits=limits,
            undo_seconds=undo_seconds,
            keys=[ApiKey(key_id=key.key_id, sha256=key.sha256, principal=principal, roles=["admin"])],
            revision=1,
        )
        await keep_workspaces(running.connection, [state])
        running.emit(state)
    return Made(workspace=workspace, key=key)


async def create_key(
    pool: Pool, outbox: Outbox, workspace: UUID, *, principal: str, roles: Sequence[str], by: str
) -> NewKey:
    """Raises Rejected for a role there is not, or a workspace there is not."""
    for role in roles:
        if role not in ROLES:
            raise Rejected("unknown_role", f"there is no role {role!r}", "roles", suggest(role, ROLES))
    key = new_key()
    async with writing(pool, outbox, workspace) as running:
        before = await _locked(running.connection, workspace)
        added = ApiKey(key_id=key.key_id, sha256=key.sha256, principal=principal, roles=list(roles))
        await _change(running, before, keys=[*before.keys, added])
        told = {"principal": principal, "roles": list(roles)}
        await acted(
            running.connection, by=by, workspace=workspace, action="key.create", subject=key.key_id, detail=told
        )
    return key


async def revoke_key(pool: Pool, outbox: Outbox, workspace: UUID, key_id: str, *, by: str) -> None:
    """Raises Rejected if there is no such key, or if nobody could make another afterwards."""
    async with writing(pool, outbox, workspace) as running:
        before = await _locked(running.connection, workspace)
        if key_id not in {key.key_id for key in before.keys if key.active}:
            raise Rejected("not_found", f"there is no active key {key_id!r}", "key_id", "see `calotype key list`")
        keys = [key.model_copy(update={"active": False}) if key.key_id == key_id else key for key in before.keys]
        if not any(key.active and "admin" in key.roles for key in keys):
            raise Rejected("conflict", "it is the last admin key", "key_id", "create another admin key first")
        await _change(running, before, keys=keys)
        await acted(running.connection, by=by, workspace=workspace, action="key.revoke", subject=key_id)


async def change_workspace(
    pool: Pool, outbox: Outbox, workspace: UUID, *, limits: Limits | None, undo_seconds: float | None, by: str
) -> None:
    async with writing(pool, outbox, workspace) as running:
        before = await _locked(running.connection, workspace)
        await _change(
            running,
            before,
            limits=limits if limits is not None else before.limits,
            undo_seconds=undo_seconds if undo_seconds is not None else before.undo_seconds,
        )
        told = {"limits": limits.model_dump(mode="json") if limits else None, "undo_seconds": undo_seconds}
        await acted(
            running.connection,
            by=by,
            workspace=workspace,
            action="workspace.limit",
            subject=str(workspace),
            detail={name: value for name, value in told.items() if value is not None},
        )


async def _locked(connection: Connection, workspace: UUID) -> WorkspaceChanged:
    """The newest state, and nobody else changes it until the commit."""
    row = await queries.lock_workspace(connection, workspace=workspace)
    if row is None:
        raise Rejected("not_found", f"there is no workspace {workspace}", "workspace", "see `calotype workspace list`")
    return WorkspaceChanged.of(
        cause_id=f"{workspace} {row['revision']}",
        occurred_at=await queries.now(connection),
        workspace=workspace,
        name=row["name"],
        state=row["state"],
        limits=Limits.model_validate_json(row["limits"]),
        undo_seconds=row["undo_seconds"],
        keys=await keys_of(connection, workspace),
        revision=row["revision"],
    )


async def keys_of(connection: Connection | Pool, workspace: UUID) -> list[ApiKey]:
    return [
        ApiKey(
            key_id=row["key_id"],
            sha256=row["sha256"],
            principal=row["principal"],
            roles=row["roles"],
            active=row["active"],
        )
        async for row in queries.keys_of(connection, workspace=workspace)
    ]


async def _change(running: Transaction, before: WorkspaceChanged, **changes: object) -> None:
    fields = before.model_dump(exclude={"event_id", "cause_id", "revision"}) | changes
    revision = before.revision + 1
    state = WorkspaceChanged.of(cause_id=f"{before.workspace} {revision}", revision=revision, **fields)
    await keep_workspaces(running.connection, [state])
    running.emit(state)


async def create_link(pool: Pool, workspace: UUID, key_id: str) -> str:
    """A token that signs one browser in, once, as the key's principal."""
    token = secrets.token_urlsafe(32)
    async with transaction(pool) as connection:
        await queries.add_link(
            connection, sha256=hash_secret(token), workspace=workspace, key_id=key_id, seconds=float(LINK_SECONDS)
        )
    return token


async def use_link(pool: Pool, token: str) -> str | None:
    """The key the link stands for, or None: used, expired or never made."""
    async with transaction(pool) as connection:
        row = await queries.use_link(connection, sha256=hash_secret(token))
    return row["key_id"] if row else None
