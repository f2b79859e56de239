"""A rubric's word on what checks found: failed and named is rejected, advisory is only told."""

from typing import Any

from services.postprocess.rulings import ruled
from shared.events import Verdict
from shared.library.documents import Rubric


def verdict(check: str = "entropy", *, ok: bool = False, **more: Any) -> Verdict:
    return Verdict(check=check, ok=ok, sentence="The picture is blank.", **more)


def rubric(*, rejecting: list[str] | None = None, blocking: list[str] | None = None) -> Rubric:
    return Rubric(
        name="tile", version=1, owner="design", rejecting_checks=rejecting or [], blocking_checks=blocking or []
    )


def test_what_fails_a_rejecting_check_is_rejected_and_what_passes_is_not() -> None:
    failed, passed = ruled([verdict(), verdict("bytes", ok=True)], rubric(rejecting=["entropy", "bytes"]))
    assert (failed.rejecting, passed.rejecting) == (True, False)


def test_a_check_that_the_rubric_does_not_name_rejects_nothing() -> None:
    (failed,) = ruled([verdict(code="artefact")], rubric(rejecting=["bytes"]))
    assert not failed.rejecting


def test_what_only_blocks_goes_to_a_person() -> None:
    (failed,) = ruled([verdict()], rubric(blocking=["entropy"]))
    assert (failed.blocking, failed.rejecting) == (True, False)


def test_an_advisory_check_neither_rejects_nor_blocks() -> None:
    (failed,) = ruled([verdict(advisory=True, blocking=True)], rubric(rejecting=["entropy"], blocking=["entropy"]))
    assert (failed.blocking, failed.rejecting) == (False, False)


def test_a_rubric_that_stops_at_a_check_there_is_none_of_asks_a_person() -> None:
    (unknown,) = ruled([], rubric(blocking=["beauty"]))
    assert (unknown.check, unknown.ok, unknown.blocking, unknown.rejecting) == ("beauty", False, True, False)


def test_a_check_of_ours_that_has_nothing_to_say_stops_nothing() -> None:
    assert ruled([], rubric(blocking=["text", "twin"])) == []


def test_a_rubric_that_rejects_by_a_check_there_is_none_of_asks_a_person() -> None:
    (unknown,) = ruled([], rubric(rejecting=["beauty"]))
    assert (unknown.check, unknown.ok, unknown.blocking, unknown.rejecting) == ("beauty", False, True, False)


def test_what_a_check_could_not_look_at_goes_to_a_person_and_is_not_rejected() -> None:
    named = rubric(rejecting=["fidelity", "cut-out"])
    unseen = [verdict("fidelity", blocking=True), verdict("cut-out", blocking=True)]
    assert [(each.blocking, each.rejecting) for each in ruled(unseen, named)] == [(True, False)] * 2
    (seen,) = ruled([verdict("fidelity", number=4.2)], named)
    assert seen.rejecting


def test_a_check_from_outside_rejects_under_its_own_name() -> None:
    (only,) = ruled([verdict("beauty", code="other")], rubric(rejecting=["beauty"]))
    assert only.rejecting
