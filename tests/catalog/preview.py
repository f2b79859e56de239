"""The pages over the fixture campaign, without a database: `python -m tests.catalog.preview`, then open the address."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse

from services.catalog.web.pages import pages
from services.catalog.web.view import Viewer
from services.inference.replay_desk import ChangeFound, MeasureFound, Replay
from services.inference.replay_lines import lines
from services.postprocess.derivative_lines import line_of
from services.postprocess.derivative_lines import lines as file_lines
from services.postprocess.previewing import Preview as Made
from services.postprocess.replaying import FileAgain, Replayed
from shared.comparing import Verdict
from shared.events import Verdict as Verified
from tests.catalog.campaign import VIEWER
from tests.catalog.comps import picture
from tests.catalog.fake_pages import FakePages, reviewed

REPLAY = Replay(
    replay_id=UUID(int=1), asset_id=UUID(int=2), number=1, manifest_sha256="5a" * 32, backend="studio", state="running",
    step=12, steps=30, verdict=None, measure=None, changed=[], reason=None, detail=None, cost=None, currency="EUR",
    price_list=None, provider_request_id=None, seconds=None, device_seconds=None, uncertain=False, asked_by="Mara Lind",
    asked_at=datetime.now(UTC), ended_at=None,
)  # fmt: skip
LEFT_OUT = "The headline is left out: no font that is at hand has 花."
NOTED = {"1": (), "2": (Verified(check="text", ok=False, sentence=LEFT_OUT),)}
REPLAYED = Replayed(
    asset_id=UUID(int=2), manifest_sha256="5b" * 32, verdict=Verdict.DRIFTED, changed=[], missing=[], lacks=[],
    seconds=0.4, files=[
        FileAgain(
            recipe="web@1", rendition=name, sha256="5c" * 32, verdict=verdict, measure=None, changed=[], sentence=said
        )
        for name, verdict, said in (
            ("card", Verdict.EXACT, "the same bytes"),
            ("banner", Verdict.DRIFTED, "12.40 % of the pixels differ, 34.1 dB; webp was 1.5.0 and is 1.6.0"),
        )
    ],
)  # fmt: skip
WEIGHTS = "model.files.unet/diffusion_pytorch_model.safetensors"
DRIFTED: dict[str, Any] = {
    "state": "judged",
    "verdict": Verdict.DRIFTED,
    "measure": MeasureFound(psnr=21.4, largest=203, differing=0.9312),
    "changed": [ChangeFound(field=WEIGHTS, then="5a" * 32, now="b7" * 32)],
    "ended_at": datetime.now(UTC),
}


def preview(fake: FakePages, viewer: Viewer | None = VIEWER, *, detail: int = 320) -> FastAPI:
    """`detail`: at how many pixels the comps are drawn; small is quick, 1280 is what people see."""

    async def who(_: Request) -> Viewer | None:
        return viewer

    app = FastAPI()
    app.include_router(pages(fake, who=who))
    serve_derivatives(app, fake, detail)

    @app.get("/pictures/{row}/{variant}/{longest}.jpg")
    def send_picture(row: int, variant: int, longest: int) -> Response:
        body = picture(row, variant, longest, detail)
        return Response(body, media_type="image/jpeg", headers={"Cache-Control": "max-age=300"})

    @app.get("/v1/replays/of/{asset_id}")
    @app.post("/v1/replays/of/{asset_id}")
    def replays(asset_id: UUID, request: Request) -> Response:
        """As inference draws them."""
        told = fake.replays.setdefault(asset_id, [])
        if request.method == "POST":
            told.append(REPLAY.model_copy(update={"asset_id": asset_id, "number": len(told) + 1}))
        return Response(lines(asset_id, told, cancels=True, token="of the preview"), media_type="text/html")

    @app.post("/v1/replays/of/{asset_id}/cancel")
    def cancel_replay(asset_id: UUID, replay_id: UUID) -> Response:
        """As inference would end what waits."""
        over = {"state": "cancelled", "detail": "cancelled by Mara Lind", "cost": "0", "ended_at": datetime.now(UTC)}
        told = [one.model_copy(update=over if one.replay_id == replay_id else {}) for one in fake.replays[asset_id]]
        fake.replays[asset_id] = told
        return Response(lines(asset_id, told), media_type="text/html")

    @app.get("/v1/events")
    async def events() -> Response:
        if fake.silent:
            return Response(status_code=503)
        return StreamingResponse(fake.events(), media_type="text/event-stream")

    return app


def serve_derivatives(app: FastAPI, fake: FakePages, detail: int) -> None:
    @app.get("/v1/derivatives/{asset_id}/preview")
    def send_derivative(asset_id: UUID, recipe: str) -> Response:
        """Another comp for another version, that one can be told from the other."""
        piece = fake.find(asset_id)
        body = picture(piece.row if piece else 0, 1 if recipe.endswith("@1") else 2, 640, detail)
        return Response(body, media_type="image/jpeg")

    @app.get("/v1/derivatives/{asset_id}/preview/line")
    def said_of_derivative(asset_id: UUID, recipe: str) -> Response:
        """As postprocess says it."""
        assert fake.find(asset_id)
        made = Made(
            data=bytes(47_318), media_type="image/webp", width=640, height=640, quality=74, verdicts=NOTED[recipe[-1]]
        )
        return Response(line_of(made), media_type="text/html")

    @app.post("/v1/derivatives/{asset_id}/replay/shown")
    def replay_files(asset_id: UUID) -> Response:
        """As postprocess draws it."""
        return Response(file_lines(REPLAYED.model_copy(update={"asset_id": asset_id})), media_type="text/html")


if __name__ == "__main__":
    uvicorn.run(preview(reviewed(), detail=1280), port=8123, timeout_graceful_shutdown=1)
