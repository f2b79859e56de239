"""Make an asset's image again from its manifest, and what came of it."""

import contextlib
from typing import Annotated
from uuid import UUID

from fastapi import Depends, FastAPI, Query, Request
from fastapi.responses import HTMLResponse

from services.inference.replay_desk import SHA256, Replay, ReplayAsked, ReplayDesk, Replays, no_replay
from services.inference.replay_lines import lines
from shared import identity
from shared.http import Gate, HttpProblem, trace_of
from shared.identity import Caller, May


def wire(app: FastAPI, desk: ReplayDesk, *, gate: Gate) -> None:
    canceller = Depends(gate.needs(May.CANCEL))
    submitter, reader = Depends(gate.needs(May.SUBMIT)), Depends(gate.needs(May.READ))

    @app.post("/v1/replays", status_code=202)
    async def replay(asked: ReplayAsked, request: Request, caller: Annotated[Caller, submitter]) -> Replay:
        """Makes the image again. Who asks while it is being made again gets the one under way."""
        return await desk.begin(asked, caller, traceparent=trace_of(request))

    @app.get("/v1/replays")
    async def replays(caller: Annotated[Caller, reader], asset_id: Annotated[UUID | None, Query()] = None) -> Replays:
        """What came of making images again: of one asset, or of the workspace's last ones."""
        return Replays(replays=await desk.listed(caller.workspace, asset=asset_id))

    @app.get("/v1/replays/{replay_id}")
    async def one_replay(replay_id: UUID, caller: Annotated[Caller, reader]) -> Replay:
        found = await desk.listed(caller.workspace, replay=replay_id)
        if not found:
            raise no_replay(replay_id)
        return found[0]

    @app.post("/v1/replays/{replay_id}/cancel", status_code=202)
    async def cancel(replay_id: UUID, caller: Annotated[Caller, canceller]) -> Replay:
        """Ends a replay that waits, or that is being made at its next step; a call that bills is not broken off."""
        return await desk.cancel(replay_id, caller)

    _wire_page(app, desk, gate=gate)


def _wire_page(app: FastAPI, desk: ReplayDesk, *, gate: Gate) -> None:
    """The part of the asset's page that is about its replays: each answer is the list."""
    canceller = Depends(gate.needs(May.CANCEL))
    submitter, reader = Depends(gate.needs(May.SUBMIT)), Depends(gate.needs(May.READ))

    @app.get("/v1/replays/of/{asset_id}", include_in_schema=False)
    async def shown(asset_id: UUID, caller: Annotated[Caller, reader]) -> HTMLResponse:
        return await listed(asset_id, caller)

    @app.post("/v1/replays/of/{asset_id}/cancel", include_in_schema=False)
    async def cancel_and_show(
        asset_id: UUID, replay_id: Annotated[UUID, Query()], caller: Annotated[Caller, canceller]
    ) -> HTMLResponse:
        """The button beside a replay that is not over."""
        with contextlib.suppress(HttpProblem):  # it is over meanwhile, which the list says
            await desk.cancel(replay_id, caller)
        return await listed(asset_id, caller)

    async def listed(asset_id: UUID, caller: Caller, *, refused: str = "", pay: str | None = None) -> HTMLResponse:
        found = await desk.listed(caller.workspace, asset=asset_id)
        cancels = caller.session is not None and caller.may(May.CANCEL)
        token = identity.csrf_token(caller.session, secret=gate.secret) if caller.session else ""
        return HTMLResponse(lines(asset_id, found, refused=refused, pay=pay, cancels=cancels, token=token))

    @app.post("/v1/replays/of/{asset_id}", include_in_schema=False)
    async def ask_and_show(
        asset_id: UUID,
        request: Request,
        caller: Annotated[Caller, submitter],
        manifest_sha256: Annotated[str, Query(pattern=SHA256)],
        pay: Annotated[bool, Query()] = False,  # noqa: FBT002  # a parameter of an address has a name
    ) -> HTMLResponse:
        """The button under the list; what was refused stands in it."""
        asked = ReplayAsked(asset_id=asset_id, manifest_sha256=manifest_sha256, pay=pay)
        refused, pay_at = "", None
        try:
            await desk.begin(asked, caller, traceparent=trace_of(request))
        except HttpProblem as problem:
            refused = problem.what if problem.code == "would_be_billed" else f"{problem.what}; {problem.remedy}"
            if problem.code == "would_be_billed" and caller.session is not None:
                pay_at = f"{request.url.path}?manifest_sha256={manifest_sha256}&pay=true"
        return await listed(asset_id, caller, refused=refused, pay=pay_at)
