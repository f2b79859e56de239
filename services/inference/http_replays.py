"""Make an asset's image again from its manifest, and what came of it."""

from typing import Annotated
from uuid import UUID

from fastapi import Depends, FastAPI, Query, Request
from fastapi.responses import HTMLResponse

from services.inference.replay_desk import SHA256, Replay, ReplayAsked, ReplayDesk, Replays
from services.inference.replay_lines import lines
from shared import identity
from shared.http import Gate, HttpProblem, trace_of
from shared.identity import Caller, May


def wire(app: FastAPI, desk: ReplayDesk, *, gate: Gate) -> None:
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
            raise HttpProblem("not_found", "there is no such replay", where=str(replay_id))
        return found[0]

    @app.get("/v1/replays/of/{asset_id}", include_in_schema=False)
    async def shown(asset_id: UUID, caller: Annotated[Caller, reader]) -> HTMLResponse:
        """The list on the asset's page."""
        return HTMLResponse(lines(asset_id, await desk.listed(caller.workspace, asset=asset_id)))

    @app.post("/v1/replays/of/{asset_id}", include_in_schema=False)
    async def ask_and_show(
        asset_id: UUID,
        request: Request,
        caller: Annotated[Caller, submitter],
        manifest_sha256: Annotated[str, Query(pattern=SHA256)],
        pay: Annotated[bool, Query()] = False,  # noqa: FBT002  # a parameter of an address has a name
    ) -> HTMLResponse:
        """The button on the asset's page; the answer is its list, with what was refused."""
        asked = ReplayAsked(asset_id=asset_id, manifest_sha256=manifest_sha256, pay=pay)
        refused, paid = "", None
        try:
            await desk.begin(asked, caller, traceparent=trace_of(request))
        except HttpProblem as problem:
            refused = problem.what
            if problem.code == "would_be_billed" and caller.session is not None:
                token = identity.csrf_token(caller.session, secret=gate.secret)
                paid = (f"{request.url.path}?manifest_sha256={manifest_sha256}&pay=true", token)
        found = await desk.listed(caller.workspace, asset=asset_id)
        return HTMLResponse(lines(asset_id, found, refused=refused, pay=paid))
