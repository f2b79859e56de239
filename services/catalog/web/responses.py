"""How a page leaves: its headers, and what a refusal, an outage or a bug looks like to a person."""

from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import structlog
from fastapi import Request, Response
from fastapi.responses import HTMLResponse
from fastapi.routing import APIRoute
from opentelemetry.trace import format_trace_id, get_current_span

from services.catalog.web.keys import KEYS
from services.catalog.web.render import page
from services.catalog.web.view import Trouble
from shared.errors import Rejected, Unavailable
from shared.http import STATUS_OF, HttpProblem

log = structlog.get_logger()

TITLES = {
    400: "That address asks for something odd.",
    403: "That is not yours to do.",
    404: "Nothing stands here.",
    409: "Somebody was quicker.",
    413: "That is too much at once.",
    429: "Slower, please.",
}


def headers(image_origins: Sequence[str] = ()) -> dict[str, str]:
    """Nothing but our own files runs or shows; pictures may also come from where the files' addresses lead."""
    policy = (
        "default-src 'self'",
        " ".join(("img-src 'self'", *image_origins)),
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
    return {
        "Content-Security-Policy": "; ".join(policy),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "same-origin",
        "Cache-Control": "private, no-cache",
    }


def html(template: str, *, status: int = 200, image_origins: Sequence[str] = (), **values: object) -> HTMLResponse:
    return HTMLResponse(page(template, KEYS=KEYS, **values), status_code=status, headers=headers(image_origins))


def trouble(told: Trouble) -> HTMLResponse:
    return html("trouble.html", status=told.status, trouble=told, viewer=None, room="paper", area=None)


def signed_out() -> HTMLResponse:
    return html("signed_out.html", status=401, viewer=None, room="paper", area=None)


class PageRoute(APIRoute):
    """Answers in pages: whatever goes wrong says what, where and what to do."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handled(request: Request) -> Response:
            try:
                return await handle(request)
            except Rejected as refusal:
                return _refused(refusal)
            except Unavailable as outage:
                log.warning("page.unavailable", dependency=outage.dependency, cause=outage.cause)
                return trouble(
                    Trouble(
                        status=503,
                        title="Something this page needs is away.",
                        what=f"{outage.dependency} does not answer.",
                        remedy="Nothing is lost. Reload in a moment; calotype status says more.",
                    )
                )
            except Exception as bug:
                log.exception("page.failed", path=request.url.path, exc_info=bug)
                return trouble(
                    Trouble(
                        status=500,
                        title="This page broke.",
                        what="The fault is ours, and it was logged.",
                        remedy="Try once more. If it stays, report the trace below.",
                        trace_id=_trace_id(),
                    )
                )

        return handled


def _refused(refusal: Rejected) -> HTMLResponse:
    status = refusal.status if isinstance(refusal, HttpProblem) else STATUS_OF.get(refusal.code, 400)
    if status == 401:
        return signed_out()
    return trouble(
        Trouble(
            status=status,
            title=TITLES.get(status, TITLES[400]),
            what=refusal.what,
            where=refusal.where or None,
            remedy=refusal.remedy or "Go back and try another way.",
        )
    )


def _trace_id() -> str | None:
    context = get_current_span().get_span_context()
    return format_trace_id(context.trace_id) if context.is_valid else None
