"""Looking at derivatives: made again and compared, or as another recipe would make them. Nothing is stored."""

import json
from typing import Annotated
from uuid import UUID

from fastapi import Depends, FastAPI, Query, Request
from fastapi.responses import HTMLResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from services.postprocess.derivative_lines import line_of, lines
from services.postprocess.previewing import Preview, Previews, Wanted, linted
from services.postprocess.replaying import Replayed, replay
from shared.http import Gate, HttpProblem
from shared.identity import Caller, May
from shared.library.documents import Recipe

SHA256 = r"^[0-9a-f]{64}$"
KEPT = "private, max-age=60"
MOST_FILES = 200
# Made by a draft: nothing names it, so nobody can ask whether it is still the same.
UNKEPT = "private, no-store"

Sha256 = Annotated[str, Field(pattern=SHA256)]
Pair = Annotated[str, Field(pattern=r"^[0-9a-f]{64}:[0-9a-f]{64}$")]
Manifest = Annotated[str, Query(pattern=SHA256, description="`derivatives_manifest` of GET /v1/assets/{id}")]
Named = Annotated[str, Query(min_length=1, max_length=100, description="`name@version`, `name`, or a digest")]
RenditionName = Annotated[str, Query(min_length=1, max_length=80)]


class ReplayAsked(BaseModel):
    """`manifest_sha256` as `GET /v1/assets/{id}` tells it under `derivatives_manifest`.

    Of files that are signed, `signed` has the `sha256` by the `unsigned_sha256`: the manifest knows the latter, and to
    look at the pixels of one that came out otherwise the stored file is wanted.
    """

    model_config = ConfigDict(extra="forbid")

    manifest_sha256: str = Field(pattern=SHA256)
    signed: dict[Sha256, Sha256] = Field(default_factory=dict, max_length=MOST_FILES)


def wire(app: FastAPI, previews: Previews, *, gate: Gate) -> None:
    submitter = Depends(gate.needs(May.SUBMIT))
    studio = previews.studio

    @app.post("/v1/derivatives/{asset_id}/replay")
    async def replay_files(asset_id: UUID, asked: ReplayAsked, caller: Annotated[Caller, submitter]) -> Replayed:
        """Makes an asset version's files again and says of each whether it is the same."""
        return await replay(
            studio, workspace=caller.workspace, asset=asset_id, sha256=asked.manifest_sha256, signed=asked.signed
        )

    @app.post("/v1/derivatives/{asset_id}/replay/shown", include_in_schema=False)
    async def replay_and_show(
        asset_id: UUID,
        manifest: Manifest,
        caller: Annotated[Caller, submitter],
        signed: Annotated[list[Pair] | None, Query(max_length=MOST_FILES)] = None,
    ) -> HTMLResponse:
        """The button on the asset's page; what was refused stands in its place."""
        try:
            pairs = dict(pair.split(":") for pair in signed or ())
            found = await replay(studio, workspace=caller.workspace, asset=asset_id, sha256=manifest, signed=pairs)
        except HttpProblem as problem:
            return HTMLResponse(
                lines(None, refused=f"{problem.what}; {problem.remedy}" if problem.remedy else problem.what)
            )
        return HTMLResponse(lines(found))

    _wire_previews(app, previews, gate=gate)


def _wire_previews(app: FastAPI, previews: Previews, *, gate: Gate) -> None:
    submitter, reader = Depends(gate.needs(May.SUBMIT)), Depends(gate.needs(May.READ))

    async def wanted(asset: UUID, manifest: str, recipe: str | Recipe, rendition: str, caller: Caller) -> Wanted:
        told = await previews.studio.manifest(caller.workspace, asset, manifest)
        found = await previews.recipe(caller.workspace, recipe) if isinstance(recipe, str) else recipe
        return await previews.wanted(told, found, rendition, workspace=caller.workspace)

    @app.get("/v1/derivatives/{asset_id}/preview", response_class=Response)
    async def preview(
        asset_id: UUID,
        request: Request,
        manifest: Manifest,
        recipe: Named,
        rendition: RenditionName,
        caller: Annotated[Caller, reader],
    ) -> Response:
        """The file that the pipeline would make of this asset by any recipe of the library, before it is signed."""
        asked = await wanted(asset_id, manifest, recipe, rendition, caller)
        if asked.tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers={"ETag": asked.tag, "Cache-Control": KEPT})
        return _sent(await previews.get(asked), {"ETag": asked.tag, "Cache-Control": KEPT})

    @app.get("/v1/derivatives/{asset_id}/preview/line", include_in_schema=False)
    async def said_of_preview(
        asset_id: UUID, manifest: Manifest, recipe: Named, rendition: RenditionName, caller: Annotated[Caller, reader]
    ) -> HTMLResponse:
        """What the page of two recipes says under a picture."""
        return HTMLResponse(line_of(await previews.get(await wanted(asset_id, manifest, recipe, rendition, caller))))

    @app.post("/v1/derivatives/{asset_id}/preview", response_class=Response)
    async def preview_draft(
        asset_id: UUID,
        draft: Recipe,
        manifest: Manifest,
        rendition: RenditionName,
        caller: Annotated[Caller, submitter],
    ) -> Response:
        """The same by a recipe that is not published, sent as JSON; what `library lint` refuses is refused."""
        linted(draft)
        asked = await wanted(asset_id, manifest, draft, rendition, caller)
        return _sent(await previews.get(asked), {"Cache-Control": UNKEPT})


def _sent(made: Preview, headers: dict[str, str]) -> Response:
    """The picture; beside it, in a header, what a reviewer would be told of it."""
    told = {
        "width": made.width,
        "height": made.height,
        "quality": made.quality,
        "notes": [verdict.sentence for verdict in made.verdicts if not verdict.ok],
    }
    # As JSON in ASCII, as headers are.
    headers |= {"Calotype-Made": json.dumps(told), "X-Content-Type-Options": "nosniff"}
    return Response(made.data, media_type=made.media_type, headers=headers)
