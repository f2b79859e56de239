"""The mutants themselves: enough of them, each changes the product, and none does so silently nothing."""

import math
import re

import pytest

from shared import ids
from shared.crash import arm
from tests.faults.mutants import EVERY, MUTANTS, apply
from tests.faults.mutants.__main__ import SURE, chosen
from tests.faults.mutants.in_a_test import ROOT
from tests.faults.mutants.patching import NoLongerThere, changes, constant, function, query, undone
from tests.faults.mutants.strikes import STRIKES

FEWEST = 30
INVARIANTS = {f"I{n}" for n in range(1, 11)} | {"rest", "test"}


def test_there_are_enough_of_them() -> None:
    assert len(MUTANTS) >= FEWEST


@pytest.mark.parametrize("name", MUTANTS)
def test_each_changes_the_product_and_can_be_taken_back(name: str) -> None:
    mutant = MUTANTS[name]
    assert mutant.stages and mutant.stages <= EVERY
    assert mutant.caught_by and mutant.caught_by <= INVARIANTS
    before = changes()
    with undone():
        apply(name)
        assert changes() > before
    assert changes() == before


def test_each_that_is_sure_to_come_to_light_has_its_turn() -> None:
    turns = math.ceil(len(SURE) / 5)
    seen = [mutant.name for turn in range(7, 7 + turns) for mutant in chosen([], 5, turn)]
    assert set(seen) == set(SURE)
    assert len(chosen([], None, 7)) == len(MUTANTS)


def test_the_page_on_reliability_has_them_all() -> None:
    page = (ROOT / "docs/reliability.md").read_text()
    rows = re.findall(r"^\| `([a-z-]+)` \| (.+) \| (.+) \|$", page, flags=re.MULTILINE)
    assert {name: defect for name, defect, _ in rows} == {name: each.defect for name, each in MUTANTS.items()}
    for name, _, caught in rows:
        assert set(caught.split(", ")) & MUTANTS[name].caught_by, f"{name} came to light by nothing that has to see it"


def test_what_every_scenario_strikes_with_is_there() -> None:
    for mutant in MUTANTS.values():
        arm_all(mutant.scenario.crash)
        assert set(mutant.scenario.strikes) <= set(STRIKES)
        assert mutant.scenario.requests <= 100
        test, _, name = mutant.scenario.test.partition("::")
        assert not test or f"def {name}(" in (ROOT / test).read_text()
        assert bool(test) == (mutant.caught_by == {"test"})


def arm_all(asked: str) -> None:
    """Raises UnknownCrashPoint."""
    for stage in EVERY:
        arm(stage, asked)
    arm("", "")


def test_one_of_another_stage_changes_nothing() -> None:
    with undone():
        before = changes()
        apply("webhook-id-new-per-try", stage="prompt")
        assert changes() == before


def test_whoever_imported_a_function_by_name_has_the_mutant_too() -> None:
    from shared.ids import event_id  # noqa: PLC0415

    usual = event_id("ImageGenerated", "a", "b")
    with undone():
        apply("event-id-drawn")
        assert event_id("ImageGenerated", "a", "b") != ids.event_id("ImageGenerated", "a", "b") != usual
    assert event_id("ImageGenerated", "a", "b") == usual


@pytest.mark.parametrize(
    "patch",
    [
        lambda: function("shared.ids:event_id", "what it never said", ""),
        lambda: function("shared.ids:nothing", "derive", ""),
        lambda: function("shared.ids:NAMESPACE", "derive", ""),
        lambda: query("shared.leases:queries", "shared/sql/leases.sql", "settle", "what it never said", ""),
        lambda: query("shared.leases:queries", "shared/sql/leases.sql", "nothing", "update", ""),
        lambda: constant("shared.leases:MAX_LOSSES", -1, 3),
    ],
)
def test_what_is_no_longer_there_fails_loudly(patch: object) -> None:
    with undone(), pytest.raises(NoLongerThere):
        patch()  # type: ignore[operator]
