"""What the asset's page says of its replays."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from services.inference.replay_desk import ChangeFound, MeasureFound, Replay
from services.inference.replay_lines import lines
from shared.comparing import Verdict

ASSET = UUID(int=2)
NOW = datetime(2026, 11, 22, tzinfo=UTC)


def replay(**fields: Any) -> Replay:
    given: dict[str, Any] = dict.fromkeys(Replay.model_fields)
    given |= {"replay_id": UUID(int=1), "asset_id": ASSET, "number": 1, "manifest_sha256": "5a" * 32, "changed": []}
    given |= {"backend": "studio", "state": "judged", "asked_by": "mara", "asked_at": NOW, "currency": "EUR"}
    given["uncertain"] = False
    return Replay(**given | fields)


def test_a_list_looks_again_as_long_as_something_is_under_way() -> None:
    over = replay(verdict=Verdict.EXACT, ended_at=NOW, cost="0")
    assert "hx-get" not in lines(ASSET, [over])
    told = lines(ASSET, [replay(state="running", step=3, steps=9), over])
    assert f'hx-get="/v1/replays/of/{ASSET}"' in told and "running, step 3 of 9" in told


def test_a_verdict_comes_with_measure_changes_and_cost_and_nothing_is_markup() -> None:
    change = ChangeFound(field="<b>", then="5a" * 32, now=None)
    measure = MeasureFound(psnr=41.04, largest=3, differing=0.25)
    told = lines(
        ASSET, [replay(verdict=Verdict.DRIFTED, measure=measure, changed=[change], ended_at=NOW, detail="<i>")]
    )
    assert (
        "25.00 % of the pixels differ, by 3 of 255 at most, 41.0 dB · &lt;i&gt; · cost unknown · asked by mara" in told
    )
    assert "&lt;b&gt;: 5a5a5a5a5a5a… → nothing" in told
    same = lines(
        ASSET, [replay(verdict=Verdict.WITHIN_TOLERANCE, measure=MeasureFound(psnr=None, largest=0, differing=0))]
    )
    assert "every pixel is the same, the file is not" in same


def test_what_is_under_way_may_be_cancelled_and_says_what_it_waits_for() -> None:
    waits = replay(state="pending", waits="In the queue it waits on cap: the spend cap")
    told = lines(ASSET, [waits, replay(state="cancelled", ended_at=NOW, cost="0")], cancels=True, token="a token")
    assert f'hx-post="/v1/replays/of/{ASSET}/cancel?replay_id={waits.replay_id}"' in told and "a token" in told
    assert told.count("<button") == 1 and "it waits on cap: the spend cap" in told
    assert "<button" not in lines(ASSET, [waits]), "who may not cancel has no button"


def test_a_refusal_that_money_would_lift_comes_with_a_button() -> None:
    told = lines(ASSET, [], refused="it costs", pay="/v1/replays/of/x?pay=true&y", token="a token")
    assert "it costs" in told
    assert 'hx-post="/v1/replays/of/x?pay=true&amp;y"' in told and "a token" in told
    assert "button" not in lines(ASSET, [], refused="it cannot")
