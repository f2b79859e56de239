"""The oracle on what is made anew, rejected by checks and told as a twin: each promise that is broken is named."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.faults.breaking import Break, drop, forget, one, row, say
from tests.faults.hand_made import (
    APPROVED,
    HOOK,
    REJECTED,
    UNCERTAIN,
    judged,
    picture_of,
    renewed,
    sha,
    version_of,
)
from tests.faults.oracle import ids
from tests.faults.oracle.evidence import Event, Evidence, Violation, is_anew
from tests.faults.oracle.verdict import judge, met

FIRST, LATER = (ids.asset(job, 1) for job in (APPROVED, REJECTED))


FAILED = {"reason": "internal", "detail": "a bug"}


def broken(evidence: Evidence, how: Break) -> list[Violation]:
    how(evidence)
    for cached in ("of_type", "ends", "last_run"):
        evidence.__dict__.pop(cached, None)
    return judge(evidence)


def anew(e: Evidence, kind: str = "ImageProcessed") -> Event:
    return next(filter(is_anew, e.all_of(kind)))


def fact(e: Evidence, event: Event) -> Any:
    return next(kept for kept in e.kept if kept.id == event.id)


# -- versions made anew


def nobody_asked_for_it(e: Evidence) -> None:
    forget(e, one(e, "DerivativesRequested"), kept=False)


def nothing_came_of_the_ask(e: Evidence) -> None:
    forget(e, anew(e), kept=False)


def it_was_made_twice(e: Evidence) -> None:
    say(e, anew(e), body=anew(e).body | {"files": []}, id="another")


def it_failed_without_a_reason(e: Evidence) -> None:
    made = anew(e)
    forget(e, made, kept=False)
    say(e, made, type="DerivativesFailed", subject=version_of(APPROVED), body=made.body | {"reason": "", "detail": ""})


def it_failed_and_nothing_was_made(e: Evidence) -> None:
    made = anew(e)
    forget(e, made, kept=False)
    say(e, made, type="DerivativesFailed", subject=version_of(APPROVED), body=made.body | FAILED)


def it_failed_by_itself_and_was_made(e: Evidence) -> None:
    say(e, anew(e), type="DerivativesFailed", subject=version_of(APPROVED), body=anew(e).body | FAILED)


def _given_up(e: Evidence, *, cause: str = "dropped") -> None:
    """A person dropped the record; what it asked for was on its way."""
    made = anew(e)
    body = made.body | FAILED | {"asked": made.cause}
    say(e, made, type="DerivativesFailed", subject=version_of(APPROVED), cause=cause, body=body)


def it_was_given_up_twice_and_made(e: Evidence) -> None:
    _given_up(e)
    _given_up(e, cause="dropped again")


def another_recipe_was_promised(e: Evidence) -> None:
    e.reruns[0] = {**e.reruns[0], "recipe": "web@3"}


def it_was_refused_without_a_word(e: Evidence) -> None:
    e.reruns[1] = {**e.reruns[1], "why": ""}


def another_recipe_was_run(e: Evidence) -> None:
    anew(e).body["files"][0]["recipe"] = "web@1"


def _asked_again(e: Evidence, *, at: float, digest: str) -> None:
    """Another ask from the same version, of which a version came too."""
    ask, made = one(e, "DerivativesRequested"), anew(e)
    pin = {"name": "web", "version": 2, "digest": digest}
    again = say(e, ask, cause="once more", body=ask.body | {"recipes": {"web": pin}})
    fact(e, again).at = at
    version = ids.asset_version(FIRST, made.body["original"]["sha256"], [], asked=again.id)
    say(e, made, cause=again.id, body=made.body | {"asset_version_id": version})


def it_was_made_twice_by_the_same_recipes(e: Evidence) -> None:
    _asked_again(e, at=1000.0, digest=sha("web@2"))


def it_was_asked_for_while_another_was_made(e: Evidence) -> None:
    _asked_again(e, at=fact(e, anew(e)).at - 0.5, digest=sha("web@3"))


def it_was_replaced_twice(e: Evidence) -> None:
    say(e, anew(e, "AssetApproved"), cause="of another", subject="another")


def the_old_one_is_served_too(e: Evidence) -> None:
    row(e, "publisher.publications", asset_version_id=version_of(APPROVED), target=HOOK)["state"] = "delivered"


def nobody_was_told_that_the_old_one_gave_way(e: Evidence) -> None:
    forget(e, one(e, "AssetSuperseded"), kept=False)


def the_old_one_gave_way_twice(e: Evidence) -> None:
    say(e, one(e, "AssetSuperseded"), cause="once more")


def the_old_one_gave_way_to_nothing(e: Evidence) -> None:
    one(e, "AssetSuperseded").body["superseded_by"] = version_of(UNCERTAIN)


def the_old_one_gave_way_to_another_assets(e: Evidence) -> None:
    anew(e, "AssetApproved").body["asset_id"] = LATER


def the_new_one_gave_way_to_the_old(e: Evidence) -> None:
    row(e, "publisher.assets", asset_version_id=version_of(APPROVED))["approved_at"] = 1000.0


def it_takes_the_place_of_what_was_never_approved(e: Evidence) -> None:
    forget(e, next(event for event in e.all_of("AssetApproved") if not is_anew(event)), kept=False)


def it_was_compared_anew(e: Evidence) -> None:
    anew(e).body["verdicts"].append({"check": "twin", "ok": True, "sentence": ""})


# -- what checks reject


def what_fails_a_check_waits_for_a_person(e: Evidence) -> None:
    forget(e, one(e, "AssetRejected"), kept=False)


def a_check_rejected_it_twice(e: Evidence) -> None:
    say(e, one(e, "AssetRejected"), cause="once more")


def a_check_rejected_what_is_good(e: Evidence) -> None:
    picture_of(e, REJECTED).body["verdicts"][0]["ok"] = True


def a_check_rejected_it_in_other_words(e: Evidence) -> None:
    one(e, "AssetRejected").body["reason"] = "No."


def another_check_is_said_to_have_rejected_it(e: Evidence) -> None:
    one(e, "AssetRejected").body["by"] = {"principal": "check:entropy"}


def a_check_rejected_what_was_never_made(e: Evidence) -> None:
    one(e, "AssetRejected").body["asset_version_id"] = ids.derive("nothing")


def a_check_rejected_what_it_never_saw(e: Evidence) -> None:
    one(e, "AssetRejected").cause = one(e, "ImageGenerated").id


def what_a_check_rejected_is_in_nobodys_list(e: Evidence) -> None:
    drop(e, "catalog.decisions", job_id=REJECTED)


def what_a_check_rejected_is_published(e: Evidence) -> None:
    approved, version = one(e, "AssetApproved"), version_of(REJECTED)
    body = approved.body | {"asset_version_id": version}
    say(e, approved, subject=version, job=REJECTED, cause="nobody's", body=body)


def what_had_to_fail_did_not(e: Evidence) -> None:
    e.accepted[0] = {**e.accepted[0], "fails": "metadata"}


def what_had_to_pass_failed(e: Evidence) -> None:
    e.accepted[0] = {**e.accepted[0], "fails": None}


# -- twins


def _twin(e: Evidence, **said: Any) -> None:
    picture_of(e, REJECTED).body["verdicts"][1].update(said)


def what_came_before_is_called_new(e: Evidence) -> None:
    _twin(e, ok=True, sentence="No picture is like it.")


def it_is_like_nothing(e: Evidence) -> None:
    _twin(e, sentence="It is like one before.")


def it_is_like_one_that_nobody_knows(e: Evidence) -> None:
    _twin(e, sentence=f"It is like asset {ids.derive('nobody')}.")


def it_is_like_itself(e: Evidence) -> None:
    _twin(e, sentence=f"It is like asset {LATER}.")


def it_is_like_one_that_came_later(e: Evidence) -> None:
    row(e, "postprocess.likenesses", asset_id=FIRST)["seq"] = 7


def it_is_like_another_houses(e: Evidence) -> None:
    row(e, "postprocess.likenesses", asset_id=FIRST)["workspace"] = ids.derive("another house")


def it_was_compared_and_is_not_known(e: Evidence) -> None:
    drop(e, "postprocess.likenesses", asset_id=LATER)


def it_is_known_twice(e: Evidence) -> None:
    e.tables["postprocess.likenesses"].append(row(e, "postprocess.likenesses", asset_id=LATER) | {"seq": 8})


def it_is_known_as_another_jobs(e: Evidence) -> None:
    row(e, "postprocess.likenesses", asset_id=LATER)["job_id"] = UNCERTAIN


def nobody_asked_if_it_came_before(e: Evidence) -> None:
    picture_of(e, APPROVED).body["verdicts"].clear()


def it_was_asked_if_it_came_before_and_need_not(e: Evidence) -> None:
    e.accepted[0] = {**e.accepted[0], "compared": False}


Case = tuple[Break, str, str]
VERSIONS: tuple[Case, ...] = (
    (nobody_asked_for_it, "I1", "nothing asks for that"),
    (nobody_asked_for_it, "I2", "is no ask for one"),
    (nobody_asked_for_it, "I4", "nobody asked for that"),
    (nothing_came_of_the_ask, "I2", "answered 0 times"),
    (it_was_made_twice, "I2", "answered 2 times"),
    (it_failed_by_itself_and_was_made, "I2", "answered 2 times"),
    (it_was_given_up_twice_and_made, "I2", "answered 3 times"),
    (it_failed_without_a_reason, "I1", "for the reason ''"),
    (it_failed_and_nothing_was_made, "I1", "most of what was made anew failed"),
    (another_recipe_was_promised, "I1", "made anew by web@3"),
    (it_was_refused_without_a_word, "I1", "nobody says why"),
    (another_recipe_was_run, "I4", "and was by web@1"),
    (it_was_made_twice_by_the_same_recipes, "I2", "by the same recipes"),
    (it_was_asked_for_while_another_was_made, "I2", "while another version"),
    (it_was_replaced_twice, "I3", "replaced by 2"),
    (the_old_one_is_served_too, "I3", f"2 versions served at {HOOK}"),
    (nobody_was_told_that_the_old_one_gave_way, "I3", "superseded 0 times"),
    (the_old_one_gave_way_twice, "I3", "superseded 2 times"),
    (the_old_one_gave_way_to_nothing, "I3", "does not stand there"),
    (the_old_one_gave_way_to_another_assets, "I3", "another asset's version"),
    (the_new_one_gave_way_to_the_old, "I3", "approved before it"),
    (it_takes_the_place_of_what_was_never_approved, "I4", "that nobody approved"),
    (it_was_compared_anew, "I4", "though nobody wanted that"),
)
CHECKS: tuple[Case, ...] = (
    (what_fails_a_check_waits_for_a_person, "I1", "failed metadata, and was not rejected"),
    (a_check_rejected_it_twice, "I1", "rejected by checks 2 times"),
    (a_check_rejected_what_is_good, "I4", "found nothing"),
    (a_check_rejected_it_in_other_words, "I4", "in other words"),
    (another_check_is_said_to_have_rejected_it, "I4", "in other words"),
    (a_check_rejected_what_was_never_made, "I4", "nobody made it"),
    (a_check_rejected_what_it_never_saw, "I4", "nobody decided"),
    (what_a_check_rejected_is_in_nobodys_list, "I4", "nobody decided"),
    (what_a_check_rejected_is_published, "I3", "approved by nobody"),
    (what_had_to_fail_did_not, "I4", "by metadata, and is by None"),
    (what_had_to_pass_failed, "I4", "by None, and is by metadata"),
    (what_came_before_is_called_new, "I4", "is called new"),
    (it_is_like_nothing, "I4", "that nobody knows"),
    (it_is_like_one_that_nobody_knows, "I4", "that nobody knows"),
    (it_is_like_itself, "I4", "of its own job"),
    (it_is_like_one_that_came_later, "I4", "that came later"),
    (it_is_like_another_houses, "I8", "another workspace's"),
    (it_was_compared_and_is_not_known, "I4", "not known from then on"),
    (it_is_known_twice, "I4", "compared with twice"),
    (it_is_known_as_another_jobs, "I4", "no such picture"),
    (nobody_asked_if_it_came_before, "I4", "or the reverse"),
    (it_was_asked_if_it_came_before_and_need_not, "I4", "though nobody wanted that"),
)


@pytest.mark.parametrize("made", [renewed, judged], ids=lambda made: made.__name__)
def test_a_world_in_which_all_went_well_breaks_nothing(made: Callable[[], Evidence]) -> None:
    assert judge(made()) == []


@pytest.mark.parametrize(("how", "invariant", "words"), VERSIONS)
def test_what_goes_wrong_with_a_new_version_is_found(how: Break, invariant: str, words: str) -> None:
    found = broken(renewed(), how)
    assert any(one.invariant == invariant and words in one.what for one in found), found


@pytest.mark.parametrize(("how", "invariant", "words"), CHECKS)
def test_what_goes_wrong_with_a_check_is_found(how: Break, invariant: str, words: str) -> None:
    found = broken(judged(), how)
    assert any(one.invariant == invariant and words in one.what for one in found), found


def test_what_a_person_gave_up_may_come_late() -> None:
    assert not [found for found in broken(renewed(), _given_up) if found.invariant == "I2"]


def test_what_a_person_gave_up_may_be_asked_for_again_before_it_comes() -> None:
    def asked_again(e: Evidence) -> None:
        came = fact(e, anew(e)).at
        _given_up(e)
        e.kept[-1].at = came - 1
        _asked_again(e, at=came - 0.5, digest=sha("web@3"))

    assert not [found for found in broken(renewed(), asked_again) if "while another version" in found.what]


def test_what_is_rare_is_counted() -> None:
    assert met(renewed()) == {"made anew": 1, "superseded": 2, "rejected by a check": 0, "twins": 0}
    assert met(judged()) == {"made anew": 0, "superseded": 0, "rejected by a check": 1, "twins": 1}


def test_what_fails_a_check_and_was_called_off_first_is_rejected_by_nobody() -> None:
    def called_off(e: Evidence) -> None:
        what_fails_a_check_waits_for_a_person(e)
        say(e, one(e, "JobFailed"), type="JobCancelled", job=REJECTED, subject=REJECTED, body={"attempts": []})

    assert not [found for found in broken(judged(), called_off) if "was not rejected" in found.what]


def test_a_person_may_approve_what_a_check_rejected() -> None:
    def overruled(e: Evidence) -> None:
        what_a_check_rejected_is_published(e)
        e.decisions.append({"decision_id": "nobody's", "decision": "approve", "answered": "taken"})

    assert not [found for found in broken(judged(), overruled) if "approved by nobody" in found.what]


def test_of_many_pictures_of_one_outline_not_every_one_is_compared() -> None:
    def crowded(e: Evidence) -> None:
        what_came_before_is_called_new(e)
        some = row(e, "postprocess.likenesses", asset_id=FIRST)
        for seq in range(20):
            other = some | {"asset_id": ids.derive(seq), "seq": -1 - seq, "fingerprint": f"{some['fingerprint']}{seq}"}
            e.tables["postprocess.likenesses"].append(other)

    assert not [found for found in broken(judged(), crowded) if "is called new" in found.what]
