"""The load: the same seed asks the same, and what it asks has something of everything."""

import csv
import io
from collections import Counter
from datetime import date
from pathlib import Path
from random import Random
from typing import Any

from services.inference import routing
from shared.events import Confidentiality, Priority
from shared.library.documents import Routes
from shared.library.rendering import render
from shared.topics import TOPICS
from tests.faults.load.library import BACKENDS, STAMP, UNTOLD, documents
from tests.faults.load.plan import PICTURES, TWINS, Ask, Sheet, picture, plan, table
from tests.faults.load.poison import MOST, Poisoner, poisons
from tests.faults.oracle.world import World
from tests.faults.providers import PROVIDERS


def test_the_same_seed_asks_the_same_and_another_seed_something_else() -> None:
    first, again, other = (list(plan(seed=seed, requests=300, canary="c")) for seed in (7, 7, 8))
    assert first == again
    assert first != other


def test_so_many_requests_are_asked_as_were_wanted_in_every_way_there_is() -> None:
    steps = list(plan(seed=3, requests=2000, canary="c"))
    asks = [step for step in steps if isinstance(step, Ask)]
    sheets = [step for step in steps if isinstance(step, Sheet)]
    assert len(asks) + sum(len(sheet.files[0]) for sheet in sheets) == 2000
    ways = Counter(ask.via for ask in asks)
    assert ways["http"] > 400 and ways["kafka"] > 300 and sum(len(sheet.files[0]) for sheet in sheets) > 200
    assert {ask.body["variants"] for ask in asks} == {1, 2, 3, 4}
    for wanted in ("again", "clash", "structured", "cancel", "is_wrong"):
        assert any(getattr(ask, wanted) for ask in asks), wanted
    pictures = {(ask.whose, ask.picture) for ask in asks if ask.picture is not None}
    assert len({picture(number, whose) for whose, number in pictures}) == len(pictures) > PICTURES
    assert any(len(sheet.files) > 2 and sheet.cancels for sheet in sheets)
    assert any(sheet.cancel for sheet in sheets)


def test_even_the_smallest_run_uses_one_id_in_two_workspaces() -> None:
    asks = [step for step in plan(seed=1, requests=5, canary="c") if isinstance(step, Ask)]
    named = [(ask.via, ask.source, ask.key) for ask in asks]
    assert named[:2] == named[2:4]
    assert [ask.whose for ask in asks[:4]] == ["load", "load", "canary", "canary"]


def test_no_two_requests_of_a_workspace_have_the_same_id() -> None:
    asks = [step for step in plan(seed=5, requests=3000, canary="c") if isinstance(step, Ask)]
    assert max(Counter((ask.whose, ask.via, ask.source, ask.key) for ask in asks).values()) == 1


def test_some_of_what_is_made_fails_a_check_and_some_is_the_same_picture_in_two_workspaces() -> None:
    asks = [step for step in plan(seed=7, requests=2000, canary="c") if isinstance(step, Ask)]
    assert 60 < sum(ask.fails is not None for ask in asks) < 120
    twins = Counter((ask.whose, ask.body["seed"]) for ask in asks if "seed" in ask.body)
    assert sum(many == len(TWINS) for many in twins.values()) > 20
    assert any(("load", seed) in twins for whose, seed in twins if whose == "canary")


def test_what_fails_has_no_alt_text_and_all_else_has() -> None:
    every = documents(providers=PROVIDERS, receiver=None)
    (alt_text,) = [each["alt_text"] for each in every if (each["kind"], each["name"]) == ("template", STAMP)]
    said = {mood: render(alt_text, {"headline": "Evening 5", "mood": mood}) for mood in (f"{UNTOLD} c", "calm c")}
    assert said == {f"{UNTOLD} c": "", "calm c": "Evening 5"}


def test_a_row_is_named_by_what_differs_from_the_defaults() -> None:
    (sheet, *_) = [step for step in plan(seed=2, requests=60, canary="c") if isinstance(step, Sheet)]
    row = next(row for row in sheet.files[0] if row.body["variants"] == 1)
    assert "variants" not in row.ask and row.ask["campaign"] == "tide"
    (first, *_) = csv.DictReader(io.StringIO(table(sheet.files[0]).decode()))
    assert first["key"] == sheet.files[0][0].key and first["mood"].endswith(" c")


def test_poison_of_every_kind_is_spread_so_thin_that_no_consumer_stops(tmp_path: Path) -> None:
    kinds = {poison.kind for topic in TOPICS for poison in poisons(topic, Random(1), workspace="w", canary="c")}
    assert kinds == {"json", "header", "type", "version", "schema", "nul", "overflow", "nobody", "prompt"}
    poisoner = Poisoner(_world(tmp_path), None, None, seed=1, workspace="w", many=10_000)  # type: ignore[arg-type]
    spread = Counter((poison.topic.name, partition) for poison, partition in poisoner.plan())
    assert set(spread.values()) == {MOST}


def test_every_provider_has_work_and_the_law_has_clouds_to_keep_confidential_work_from() -> None:
    (given,) = [each for each in documents(providers=PROVIDERS, receiver=None) if each["kind"] == "routes"]
    table = Routes.model_validate(given)
    kinds = {name: each.kind for name, each in PROVIDERS.items()}

    def made_by(level: Confidentiality, priority: Priority, bucket: int, **avoid: str) -> str:
        ask = routing.Ask(confidentiality=level, priority=priority, width=64, height=64)
        found = routing.decide(ask, table=table, today=date(2026, 11, 22), providers=kinds, bucket=bucket, avoid=avoid)
        return found.backend.name if isinstance(found, routing.Decision) else ""

    public = {made_by(Confidentiality.PUBLIC, priority, bucket) for priority in Priority for bucket in range(100)}
    secret = {made_by(Confidentiality.CONFIDENTIAL, priority, bucket) for priority in Priority for bucket in range(100)}
    assert public | secret >= {each["name"] for each in BACKENDS}
    assert secret == {"own"} and made_by(Confidentiality.CONFIDENTIAL, Priority.HIGH, 1, own="away") == "proof"
    (rule,) = [rule for rule in table.rules if rule.id == "private"]
    assert rule.backends[1:-1] and rule.backends[-1] == "proof"
    assert made_by(Confidentiality.PUBLIC, Priority.HIGH, 99, acme="away") == "stability"


def test_a_world_is_read_as_it_was_written_with_whatever_else_stands_in_it(tmp_path: Path) -> None:
    world = _world(tmp_path, secrets=("s",), more={"by": "somebody"})
    world.write(tmp_path / "world.json")
    assert World.read(tmp_path / "world.json") == world


def test_every_path_leads_to_the_service_that_serves_it(tmp_path: Path) -> None:
    world = _world(tmp_path, services={name: name for name in ("intake", "catalog", "publisher", "inference")})
    assert world.address("/v1/requests/1?a=/v1/jobs") == "intake/v1/requests/1?a=/v1/jobs"
    assert world.address("/v1/assets") == "catalog/v1/assets"
    assert world.address("/v1/stages/inference/readyz") == "inference/v1/stages/inference/readyz"


def _world(folder: Path, **fields: Any) -> World:
    told: dict[str, Any] = {
        "database_url": "",
        "kafka": "",
        "prefix": "p.",
        "partitions": 3,
        "blobs": {},
        "bootstrap_token": "",
    }
    told |= {"published": folder, "logs": folder, "ledgers": folder, "services": {}} | fields
    return World(**told)
