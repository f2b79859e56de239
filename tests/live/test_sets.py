"""A campaign compared with itself on the real tables: planted outliers come first, with a sentence why."""

import random
from pathlib import Path
from typing import Any

from deploy.local.servers import EmbeddedServers
from services.catalog.views.sql import queries
from services.catalog.web.view import ReviewQuery, Viewer
from shared.events import Event, Measures
from shared.postgres import workspace_transaction
from tests.catalog.facts import WORKSPACE, Request
from tests.live.cataloguing import catalog, verdict
from tests.live.test_rebuild import rebuild

ADA = Viewer(name="ada", workspace_id=WORKSPACE, workspace="Salt & Linden", csrf="t")
BONE, CLAY, BRINE = "#f2ece0", "#c4704a", "#2e4b52"


def measures(exposure: float, *, wall: str = BONE, scale: float = 0.3) -> Measures:
    return Measures(
        colours=[(wall, 0.7), (CLAY, 0.3)],
        exposure=(exposure, 0.1, 0.9),
        product_scale=scale,
        centre=(0.5, 0.55),
        entropy=5.0,
        fingerprint="0" * 112,
    )


def campaign() -> tuple[list[Request], dict[str, Request]]:
    """Forty tiles that are alike, and three that are not, somewhere among them; another campaign that is all dark."""
    plain = [Request(name=f"tile {number}") for number in range(40)]
    odd = {"dark": Request(name="dark"), "blue": Request(name="blue"), "small": Request(name="small")}
    return plain, odd


def facts_of(plain: list[Request], odd: dict[str, Request]) -> list[Event]:
    chance = random.Random(7)
    made = [(each, measures(0.52 + chance.uniform(-0.02, 0.02))) for each in plain]
    made[9:9] = [(odd["dark"], measures(0.2)), (odd["blue"], measures(0.5, wall=BRINE))]
    made.append((odd["small"], measures(0.52, scale=0.02)))
    made += [(Request(name=f"night {number}", campaign="night"), measures(0.2)) for number in range(9)]
    return [
        fact
        for request, measured in made
        for fact in (request.accepted(), request.jobs[0].processed(measures=measured))
    ]


async def test_planted_outliers_come_first_and_say_why(servers: EmbeddedServers, tmp_path: Path) -> None:
    async with catalog(servers, tmp_path) as running:
        plain, odd = campaign()
        await running.hear(*facts_of(plain, odd))
        answer = await running.ada.get("/v1/assets/statistics", params={"campaign": "winter-home"})
        assert answer.status_code == 200, answer.text
        (told,) = answer.json()["sets"]
        assert (told["asset_type"], told["assets"]) == ("product-tile", 43)
        assert 0.5 < told["measures"]["exposure"]["median"] < 0.54
        planted = {name: str(request.jobs[0].asset_id) for name, request in odd.items()}
        assert {found["asset_id"] for found in told["outliers"]} == set(planted.values())
        why = {found["asset_id"]: found["why"] for found in told["outliers"]}
        assert why[planted["dark"]][0].startswith("darker than the rest of the set: 0.20, median 0.5")
        assert why[planted["blue"]][0].startswith("other colours") and why[planted["small"]][0].startswith(
            "its product"
        )

        arrived = await running.pages.review(ADA, ReviewQuery(campaign="winter-home"))
        assert arrived.shown is not None and str(arrived.shown.asset_id) not in planted.values()
        page = await running.pages.review(ADA, ReviewQuery(campaign="winter-home", by_outliers=True))
        first = [frame for group in page.sets[:3] for frame in group.frames]
        assert {str(frame.asset_id) for frame in first} == set(planted.values())
        assert all(frame.apart for frame in first)
        assert page.shown is not None and page.shown.apart == tuple(why[str(page.shown.asset_id)])
        assert page.next_open in {frame.asset_id for frame in first}, "the next outlier follows"

        asset = next(a for a in await running.assets(limit=100) if a["asset_id"] == planted["dark"])
        rejected: dict[str, Any] = verdict(asset, "reject", code="soft")
        assert (await running.ada.post(f"/v1/assets/{planted['dark']}/decisions", json=rejected)).status_code == 200
        (told,) = (await running.ada.get("/v1/assets/statistics?campaign=winter-home")).json()["sets"]
        assert told["assets"] == 42 and planted["dark"] not in {found["asset_id"] for found in told["outliers"]}
        life = await running.pages.asset(ADA, odd["dark"].jobs[0].asset_id)
        assert life is not None and life.apart == (), "what was rejected is not compared with what goes out"

        pool = running.service.database
        async with workspace_transaction(pool, stage="catalog", workspace=WORKSPACE) as connection:
            await connection.execute("set local enable_seqscan = off; set local enable_bitmapscan = off")
            asked = queries.set_members.sql
            for place, value in enumerate(("'winter-home'", "'product-tile'", "2000"), 1):
                asked = asked.replace(f"${place}", value)
            plan = [row[0].strip() for row in await connection.fetch(f"explain {asked}")]
        newest = plan[next(at for at, line in enumerate(plan) if "Limit" in line) + 1 :]
        assert "Scan Backward using measures_of_set" in newest[0], "the newest are not looked for, the index has them"

        before = await running.rows("select * from measures order by 1")
        assert len(before) == 52
        await running.service.database.execute("delete from measures")
        await rebuild(running, check=False)
        assert await running.rows("select * from measures order by 1") == before
        nobody = await running.clients["rita"].get("/v1/assets/statistics?campaign=none")
        assert nobody.json()["sets"] == []
