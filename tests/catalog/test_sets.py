"""How often a set is worked out, and where: a page that asks again is answered from what is kept."""

import threading
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest

from services.catalog.review import outliers
from services.catalog.views import sets
from services.catalog.views.sets import KEPT_SECONDS, Name, Sets
from tests.catalog.facts import WORKSPACE

TILES: Name = ("winter-home", "product-tile")
ROW = {"exposure": 0.5, "product_scale": None, "centre_x": None, "centre_y": None, "colours": '[["#f2ece0", 1.0]]'}


class Rows:
    """Stands for the query: twenty pictures, and how often they were read."""

    def __init__(self) -> None:
        self.reads: list[str] = []

    async def set_members(self, _connection: Any, *, campaign: str, **_: Any) -> AsyncIterator[dict[str, Any]]:
        self.reads.append(campaign)
        for number in range(20):
            yield ROW | {"asset_id": UUID(int=number + 1)}


async def test_a_set_is_worked_out_once_in_half_a_minute_and_never_on_the_event_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows, now, threads = Rows(), [1000.0], []
    monkeypatch.setattr(sets, "queries", rows)

    def compared(members: Any) -> outliers.Set:
        threads.append(threading.current_thread())
        return outliers.compared(members)

    monkeypatch.setattr(sets, "compared", compared)
    kept = Sets(clock=lambda: now[0])
    connection: Any = None
    first = await kept.of(connection, TILES, workspace=WORKSPACE)
    assert first is await kept.of(connection, TILES, workspace=WORKSPACE)
    assert (first.count, len(first.scores), rows.reads) == (20, 20, ["winter-home"])
    await kept.of(connection, TILES, workspace=UUID(int=7))
    await kept.of(connection, (None, "product-tile"), workspace=WORKSPACE)
    assert rows.reads == ["winter-home", "winter-home", ""], "each workspace has its own, and no campaign is one too"
    now[0] += KEPT_SECONDS
    assert first is not await kept.of(connection, TILES, workspace=WORKSPACE)
    assert len(rows.reads) == 4
    assert threading.current_thread() not in threads
