"""The pages over the fixture campaign, without a database: `python -m tests.catalog.preview`, then open the address."""

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse

from services.catalog.web.pages import pages
from services.catalog.web.view import Viewer
from tests.catalog.campaign import VIEWER
from tests.catalog.comps import picture
from tests.catalog.fake_pages import FakePages, reviewed


def preview(fake: FakePages, viewer: Viewer | None = VIEWER, *, detail: int = 320) -> FastAPI:
    """`detail`: at how many pixels the comps are drawn; small is quick, 1280 is what people see."""

    async def who(_: Request) -> Viewer | None:
        return viewer

    app = FastAPI()
    app.include_router(pages(fake, who=who))

    @app.get("/pictures/{row}/{variant}/{longest}.jpg")
    def send_picture(row: int, variant: int, longest: int) -> Response:
        body = picture(row, variant, longest, detail)
        return Response(body, media_type="image/jpeg", headers={"Cache-Control": "max-age=300"})

    @app.get("/v1/events")
    async def events() -> Response:
        if fake.silent:
            return Response(status_code=503)
        return StreamingResponse(fake.events(), media_type="text/event-stream")

    return app


if __name__ == "__main__":
    uvicorn.run(preview(reviewed(), detail=1280), port=8123, timeout_graceful_shutdown=1)
