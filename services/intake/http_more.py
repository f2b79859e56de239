"""One more like an asset, asked for by the form on its page: a request like any other, with something changed."""

import hashlib
import html
import secrets
from typing import Annotated
from uuid import UUID

import orjson
from fastapi import Depends, FastAPI, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from services.intake.http import Intake, take_in
from shared.http import HttpProblem
from shared.identity import Caller, May

VARIABLE = "variable."


def wire(app: FastAPI, intake: Intake) -> None:
    submitter = Depends(intake.gate.needs(May.SUBMIT))

    @app.post("/v1/requests/more", include_in_schema=False)
    async def more(request: Request, caller: Annotated[Caller, submitter]) -> Response:
        """`ask` is the parent's request as JSON; `seed` and `variable.…` are what the form may have changed of it."""
        form = {name: str(value) for name, value in (await request.form()).items()}
        back = f"/assets/{_id(form.get('asset'))}"
        try:
            body = _changed(form)
            # Of one drawing of the page: pressed twice it is one request, changed and pressed again another.
            key = f"page {form.get('page') or secrets.token_hex(8)} {hashlib.sha256(body).hexdigest()[:16]}"
            answer = await take_in(intake, request, caller, key=key, body=body)
        except HttpProblem as problem:
            return HTMLResponse(_refused(problem, back), status_code=problem.status)
        (job,) = orjson.loads(answer.body)["jobs"]
        return RedirectResponse(f"/jobs?show=all&job={job}", status_code=303)


def _changed(form: dict[str, str]) -> bytes:
    try:
        asked = orjson.loads(form.get("ask", ""))
        seed = int(form["seed"]) if form.get("seed", "").strip() else None
        variables = {name.removeprefix(VARIABLE): form[name] for name in form if name.startswith(VARIABLE)}
        return orjson.dumps(asked | {"seed": seed, "variables": variables})
    except (orjson.JSONDecodeError, TypeError, ValueError):
        remedy = "a seed is a whole number, or nothing for a new one; reload the page for its form"
        raise HttpProblem("malformed", "the form cannot be read", where="seed", remedy=remedy) from None


def _id(text: str | None) -> UUID:
    try:
        return UUID(text or "")
    except ValueError:
        raise HttpProblem("malformed", "the form names no asset", where="asset", remedy="reload the page") from None


def _refused(problem: HttpProblem, back: str) -> str:
    told = problem.extra.get("problems") or [
        {"what": problem.what, "where": problem.where, "remedy": problem.remedy},
    ]
    lines = "".join(
        "<p>" + html.escape(f"{each.get('where') or 'The request'}: {each['what']}; {each['remedy']}.") + "</p>"
        for each in told
    )
    return f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>Calotype</title>
<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">
<body style="font:16px/1.5 Georgia,serif;margin:15vh auto;max-width:34em;padding:0 1em">
<h1 style="font-weight:400">Nothing was made.</h1>{lines}
<p><a href="{back}">Back to the picture</a></p></body></html>"""
