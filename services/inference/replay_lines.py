"""Replays as lines of their asset's page, which asks for them again as long as one is under way."""

from collections.abc import Sequence
from html import escape
from typing import Any
from uuid import UUID

import orjson

from services.inference.replay_desk import Replay
from shared.comparing import Verdict
from shared.likeness import apart

WHOLE = 48  # characters of a value; a hash is told by its beginning
# An outage in between leaves the page as it is.
SWAP = 'hx-swap="outerHTML" hx-status:4xx="swap:none" hx-status:5xx="swap:none"'


def lines(
    asset: UUID,
    replays: Sequence[Replay],
    *,
    refused: str = "",
    pay: str | None = None,
    cancels: bool = False,
    token: str = "",
) -> str:
    """`refused`: why it is not made again this time; `pay`: where to ask for it all the same; `token`: the page's.

    `cancels`: whoever looks may cancel what is under way.
    """
    open_ = any(replay.ended_at is None for replay in replays)
    asks = f' hx-get="/v1/replays/of/{asset}" hx-trigger="every 700ms" {SWAP}' if open_ else ""
    rows = []
    if refused:
        button = _button("Pay, and make it again", pay, token)
        rows.append(_row("not made", f'<span class="failed">{escape(refused)}</span>{button}'))
    for replay in replays:
        may_end = cancels and replay.ended_at is None
        where = f"/v1/replays/of/{asset}/cancel?replay_id={replay.replay_id}" if may_end else None
        button = _button("Cancel", where, token, name=f"cancel-{replay.replay_id}")
        rows.append(_row(f"replay {replay.number}", _told(replay) + button))
    return f'<dl class="pairs" id="replays"{asks}>{"".join(rows)}</dl>'


def _row(name: str, told: str) -> str:
    return f"<div><dt>{escape(name)}</dt><dd>{told}</dd></div>"


def _button(says: str, address: str | None, token: str, *, name: str = "pay") -> str:
    """With a name, by which it keeps the focus while the list is shown anew."""
    if address is None:
        return ""
    headers = escape(orjson.dumps({"X-CSRF-Token": token}).decode())
    where = f'hx-post="{escape(address)}" hx-headers="{headers}" hx-target="#replays" {SWAP}'
    return f' <button class="act" id="{name}" {where}>{says}</button>'


def _told(replay: Replay) -> str:
    good = replay.verdict in (Verdict.EXACT, Verdict.WITHIN_TOLERANCE)
    mark = "running" if replay.ended_at is None else "approved" if good else "failed"
    at = f", step {replay.step} of {replay.steps}" if replay.state == "running" and replay.steps else ""
    said = [
        apart(**replay.measure.model_dump()) if replay.measure else "",
        replay.detail or "",
        replay.waits or "",
        _cost(replay),
    ]
    words = " · ".join(escape(each) for each in ["", *filter(None, said), f"asked by {replay.asked_by}"])
    changes = "".join(
        f'<p class="not">{escape(change.field)}: {_value(change.then)} → {_value(change.now)}</p>'
        for change in replay.changed
    )
    return f'<span class="{mark}">{escape(replay.verdict or replay.state)}{at}</span>{words}{changes}'


def _cost(replay: Replay) -> str:
    if replay.ended_at is None or replay.cost == "0":
        return ""
    return "cost unknown" if replay.cost is None else f"cost {replay.cost} {replay.currency}"


def _value(value: Any) -> str:
    text = "nothing" if value is None else value if isinstance(value, str) else orjson.dumps(value).decode()
    return escape(text if len(text) <= WHOLE else f"{text[:12]}…")
