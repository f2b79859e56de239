"""The oracle: a world that kept every promise passes, and each promise that is broken is named."""

import ast
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import orjson
import pytest

from tests.faults.breaking import Break, drop, forget, one, row, say
from tests.faults.hand_made import (
    APPROVED,
    ASKED_ON_KAFKA,
    CANCELLED,
    DAY,
    FOLDER,
    HOOK,
    LETTER,
    REPLAY,
    REQUEST,
    TRACE,
    UNCERTAIN,
    WORKSPACE,
    clean,
    file,
    sha,
    version_of,
)
from tests.faults.oracle import ids
from tests.faults.oracle.evidence import Evidence, Leak, Letter, Reached
from tests.faults.oracle.files import Search, lines, published
from tests.faults.oracle.invariants import ALL
from tests.faults.oracle.reading import NEXT_VERSION, meaning, read_event, read_letter, trace_of
from tests.faults.oracle.snapshot import differences
from tests.faults.oracle.verdict import judge, summary, text

GOLDEN = Path(__file__).resolve().parents[2] / "shared/contracts/golden"
ORACLE = Path(__file__).parent / "oracle"
# What the oracle may need besides the standard library: drivers, and itself.
NEEDS = {"aioboto3", "aiokafka", "asyncpg", "botocore", "httpx", "orjson", "tests"}
BREAKS: dict[str, tuple[str, Break]] = {}


def breaks(invariant: str) -> Callable[[Break], Break]:
    """Registers one way to break a promise, under the name of the function."""

    def register(how: Break) -> Break:
        BREAKS[how.__name__] = invariant, how
        return how

    return register


# -- I1


@breaks("I1")
def a_promised_request_is_unknown(e: Evidence) -> None:
    e.accepted.append(dict(e.accepted[0], key="another"))


@breaks("I1")
def a_promised_row_of_a_file_is_unknown(e: Evidence) -> None:
    told = {"via": "batch", "workspace": WORKSPACE, "batch": "b", "key": "row", "ask": {"campaign": "é"}}
    e.accepted.append(told | {"variants": 1, "expects": "accepted"})


@breaks("I1")
def a_wrong_ask_is_not_answered(e: Evidence) -> None:
    forget(e, one(e, "RequestRejected"), kept=False)


@breaks("I1")
def a_right_ask_is_refused(e: Evidence) -> None:
    e.accepted[1] = dict(e.accepted[1], expects="accepted")


@breaks("I1")
def a_request_has_fewer_jobs_than_asked(e: Evidence) -> None:
    e.accepted[0] = dict(e.accepted[0], variants=4)


@breaks("I1")
def no_event_says_that_it_was_accepted(e: Evidence) -> None:
    forget(e, one(e, "RequestAccepted"), kept=False)


@breaks("I1")
def an_event_left_and_its_transaction_did_not_stand(e: Evidence) -> None:
    other = ids.request_over_http(WORKSPACE, "load", "rolled back")
    say(e, one(e, "RequestAccepted"), request=other, subject=other, cause=other, trace="1" * 32)


@breaks("I1")
def it_was_accepted_twice(e: Evidence) -> None:
    say(e, one(e, "RequestAccepted"), cause="another")


@breaks("I1")
def the_catalog_does_not_know_the_request(e: Evidence) -> None:
    drop(e, "catalog.requests", request_id=REQUEST)


@breaks("I1")
def the_request_is_never_completed(e: Evidence) -> None:
    row(e, "catalog.requests", request_id=REQUEST)["completed"] = False


@breaks("I1")
def its_completion_says_something_else(e: Evidence) -> None:
    before = one(e, "RequestCompleted")
    forget(e, before, kept=False)
    say(e, before, cause="other ends")


@breaks("I1")
def it_is_called_completed_while_a_job_runs(e: Evidence) -> None:
    say(e, one(e, "RequestCompleted"), cause="too early", body={"jobs": {"approved": 1, "failed": 1, "running": 1}})


@breaks("I1")
def the_catalog_does_not_know_the_job(e: Evidence) -> None:
    drop(e, "catalog.jobs", job_id=CANCELLED)


@breaks("I1")
def a_job_never_ends(e: Evidence) -> None:
    row(e, "catalog.jobs", job_id=CANCELLED)["rank"] = 1


@breaks("I1")
def its_end_is_shown_and_was_never_told(e: Evidence) -> None:
    forget(e, one(e, "JobFailed"), kept=False)


@breaks("I1")
def its_end_is_not_in_the_ledger(e: Evidence) -> None:
    ended = one(e, "JobCancelled").id
    e.kept[:] = [fact for fact in e.kept if fact.id != ended]


@breaks("I1")
def it_ended_twice(e: Evidence) -> None:
    say(e, one(e, "JobFailed"), cause="once more")


@breaks("I1")
def another_end_is_shown_than_was_told(e: Evidence) -> None:
    row(e, "catalog.jobs", job_id=UNCERTAIN)["rank"] = 5


@breaks("I1")
def a_job_is_there_that_nobody_asked_for(e: Evidence) -> None:
    e.tables["catalog.jobs"].append(dict(row(e, "catalog.jobs", job_id=CANCELLED), job_id=ids.job(REQUEST, 4)))


@breaks("I1")
def a_cancel_is_lost(e: Evidence) -> None:
    e.cancels.append({"request_id": REQUEST, "job_id": None, "answered": 202})


@breaks("I1")
def a_cancel_of_a_batch_is_lost(e: Evidence) -> None:
    e.tables["intake.batches"] = [{"batch_id": "b1", "workspace": WORKSPACE, "name": "n", "state": "expanded"}]
    e.batch_cancels.append({"batch_id": "b1", "workspace": WORKSPACE, "batch": "n", "answered": 202})


@breaks("I1")
def a_cancel_is_not_obeyed(e: Evidence) -> None:
    for fact in e.kept:
        if fact.type == "CancelRequested":
            fact.about, fact.at = APPROVED, 1.0


@breaks("I1")
def a_sender_was_answered_wrongly(e: Evidence) -> None:
    e.complaints.append({"what": "an answer over HTTP", "key": "k", "wanted": 202, "got": "500"})


@breaks("I1")
def a_replay_that_was_promised_is_gone(e: Evidence) -> None:
    e.replays.append({"replay_id": ids.derive("another replay")})


@breaks("I1")
def an_image_is_being_made_again_for_ever(e: Evidence) -> None:
    row(e, "inference.replays", replay_id=REPLAY)["state"] = "running"


# -- I2


@breaks("I2")
def an_id_does_not_follow_from_what_the_event_says(e: Evidence) -> None:
    say(e, one(e, "PromptAssembled", UNCERTAIN), id=ids.derive("drawn"))


@breaks("I2")
def a_job_is_not_one_of_its_request(e: Evidence) -> None:
    say(e, one(e, "ReviewNeeded") if e.of_type.get("ReviewNeeded") else one(e, "JobFailed"), job=ids.derive("nobody's"))


@breaks("I2")
def a_place_in_a_list_names_the_asset(e: Evidence) -> None:
    one(e, "ImageGenerated").body["asset_id"] = ids.asset(UNCERTAIN, 1)


@breaks("I2")
def the_version_does_not_name_all_its_files(e: Evidence) -> None:
    one(e, "ImageProcessed").body["files"] = []


@breaks("I2")
def the_attempt_is_another_jobs(e: Evidence) -> None:
    one(e, "ImageGenerated", CANCELLED).body["attempts"][0]["attempt_id"] = ids.attempt(UNCERTAIN, 1, 1)


@breaks("I2")
def the_publication_is_another_targets(e: Evidence) -> None:
    one(e, "AssetPublished").body["target"] = "elsewhere"


@breaks("I2")
def two_images_of_one_run(e: Evidence) -> None:
    say(e, one(e, "ImageGenerated", APPROVED), cause="a second attempt")


@breaks("I2")
def two_versions_of_one_asset(e: Evidence) -> None:
    say(e, one(e, "ImageProcessed", APPROVED), cause="a second try")


@breaks("I2")
def a_job_is_approved_without_an_asset(e: Evidence) -> None:
    forget(e, one(e, "ImageProcessed", APPROVED))


@breaks("I2")
def the_catalog_lost_an_asset(e: Evidence) -> None:
    drop(e, "catalog.assets", job_id=CANCELLED)


@breaks("I2")
def the_catalog_has_an_asset_too_many(e: Evidence) -> None:
    e.tables["catalog.assets"].append(dict(e.tables["catalog.assets"][0], asset_version_id=ids.derive("more")))


@breaks("I2")
def a_sender_was_told_ids_that_do_not_follow(e: Evidence) -> None:
    e.accepted[0] = dict(e.accepted[0], jobs=[APPROVED, CANCELLED, UNCERTAIN])


@breaks("I2")
def a_job_is_given_up_though_only_workers_were_lost(e: Evidence) -> None:
    failed = one(e, "JobFailed")
    failed.body |= {"reason": "internal", "attempts": [dict(failed.body["attempts"][0], state="failed")]}


# -- I3


@breaks("I3")
def a_version_stands_twice_in_the_folder(e: Evidence) -> None:
    e.sets.append(replace(e.sets[0], place="file:///again"))


@breaks("I3")
def a_webhook_had_two_effects(e: Evidence) -> None:
    e.deliveries.append(dict(e.deliveries[0]))


@breaks("I3")
def a_version_went_to_a_webhook_under_two_ids(e: Evidence) -> None:
    e.deliveries.append(dict(e.deliveries[0], webhook_id="another"))


@breaks("I3")
def it_was_told_twice(e: Evidence) -> None:
    say(e, one(e, "AssetPublished"), cause="again")


@breaks("I3")
def a_version_was_approved_twice(e: Evidence) -> None:
    say(e, one(e, "AssetApproved"), cause="again")


@breaks("I3")
def an_approved_version_goes_nowhere(e: Evidence) -> None:
    drop(e, "publisher.publications", target=HOOK)


@breaks("I3")
def the_publisher_never_heard_of_it(e: Evidence) -> None:
    e.tables["publisher.assets"].clear()


@breaks("I3")
def a_publication_is_under_way_for_ever(e: Evidence) -> None:
    row(e, "publisher.publications", target=HOOK)["state"] = "pending"


@breaks("I3")
def it_failed_and_does_not_say_why(e: Evidence) -> None:
    e.sets.clear()
    forget(e, next(p for p in e.all_of("AssetPublished") if p.body["target"] == FOLDER), kept=False)
    row(e, "publisher.publications", target=FOLDER)["state"] = "failed"


@breaks("I3")
def it_was_called_delivered_and_is_not_there(e: Evidence) -> None:
    e.sets.clear()


@breaks("I3")
def it_was_called_failed_and_is_there(e: Evidence) -> None:
    row(e, "publisher.publications", target=FOLDER).update(state="failed", code="c", detail="d")


@breaks("I3")
def something_stands_published_that_nobody_approved(e: Evidence) -> None:
    e.sets.append(replace(e.sets[0], sidecar={"asset_version_id": version_of(CANCELLED), "target": FOLDER}))


@breaks("I3")
def somebody_was_told_what_nobody_approved(e: Evidence) -> None:
    e.deliveries.append(dict(e.deliveries[0], asset_version_id=version_of(CANCELLED), webhook_id="w"))


@breaks("I3")
def it_stands_in_another_workspaces_folder(e: Evidence) -> None:
    e.sets[0].workspace = ids.derive("other")


@breaks("I3")
def it_was_published_with_other_bytes(e: Evidence) -> None:
    e.sets[0].files["web"] = 3, sha("altered")


@breaks("I3")
def a_folder_does_not_say_what_it_is(e: Evidence) -> None:
    e.sets.append(replace(e.sets[0], sidecar=None))


@breaks("I3")
def a_writer_left_half_a_set(e: Evidence) -> None:
    e.leftovers.append("w/.incoming/x")


@breaks("I3")
def a_delivery_was_never_told(e: Evidence) -> None:
    forget(e, one(e, "AssetPublished"), kept=False)


@breaks("I3")
def it_was_told_as_published_and_is_uncertain(e: Evidence) -> None:
    row(e, "publisher.publications", target=HOOK).update(state="uncertain", code="c", detail="d")


@breaks("I3")
def the_catalog_shows_another_state(e: Evidence) -> None:
    row(e, "catalog.publications", target=HOOK)["state"] = "pending"


@breaks("I3")
def it_stands_above_the_ceiling_of_its_target(e: Evidence) -> None:
    one(e, "AssetApproved").body["confidentiality"] = "confidential"


# -- I4


@breaks("I3")
def a_folder_was_given_up(e: Evidence) -> None:
    for table in ("publisher.publications", "catalog.publications"):
        place = next(n for n, one in enumerate(e.tables[table]) if one["target"] == FOLDER)
        e.tables[table][place] = dict(e.tables[table][place], state="failed", code="gave_up", detail="no room")
    published = next(event for event in e.all_of("AssetPublished") if event.body["target"] == FOLDER)
    say(e, published, type="PublicationFailed")
    forget(e, published, kept=False)
    e.sets.clear()


@breaks("I4")
def progress_is_kept(e: Evidence) -> None:
    say(e, one(e, "PromptAssembled"), type="JobProgressed", cause="a step")


@breaks("I4")
def a_blob_is_gone(e: Evidence) -> None:
    e.blobs[file(APPROVED, "web")["key"]] = None


@breaks("I4")
def a_blob_has_other_bytes(e: Evidence) -> None:
    e.blobs[file(APPROVED, "original")["key"]] = 8, sha("altered")


@breaks("I4")
def a_key_has_no_hash(e: Evidence) -> None:
    made = one(e, "ImageProcessed", APPROVED).body["files"][0]
    e.blobs["ws/a/1.png"] = made["bytes"], made["sha256"]
    made["key"] = "ws/a/1.png"


@breaks("I4")
def a_pinned_document_is_gone(e: Evidence) -> None:
    e.blobs = {key: found for key, found in e.blobs.items() if "library" not in key}


@breaks("I4")
def the_version_comes_from_no_image(e: Evidence) -> None:
    say(e, one(e, "ImageProcessed", APPROVED), cause=ids.derive("nothing"))


@breaks("I4")
def the_image_comes_from_no_prompt(e: Evidence) -> None:
    one(e, "ImageGenerated", APPROVED).cause = ids.derive("nothing")


@breaks("I4")
def the_prompt_comes_from_no_request(e: Evidence) -> None:
    one(e, "PromptAssembled", APPROVED).cause = ids.derive("nothing")


@breaks("I4")
def the_version_was_made_of_another_original(e: Evidence) -> None:
    one(e, "ImageProcessed", APPROVED).body["original"] = file(CANCELLED, "original")


@breaks("I4")
def it_was_approved_without_a_decision(e: Evidence) -> None:
    e.tables["catalog.decisions"].clear()


@breaks("I4")
def the_decision_was_on_another_version(e: Evidence) -> None:
    e.tables["catalog.decisions"][0] = dict(e.tables["catalog.decisions"][0], asset_version_id=version_of(CANCELLED))


@breaks("I4")
def the_decision_had_been_taken_back(e: Evidence) -> None:
    e.tables["catalog.decisions"][0] = dict(e.tables["catalog.decisions"][0], state="undone")


@breaks("I4")
def a_decision_that_was_taken_is_forgotten(e: Evidence) -> None:
    e.decisions.append({"decision_id": ids.derive("another"), "decision": "reject", "answered": "taken"})


@breaks("I4")
def a_decision_came_to_nothing(e: Evidence) -> None:
    rejected = dict(e.tables["catalog.decisions"][0], decision_id=ids.derive("another"), decision="reject")
    e.tables["catalog.decisions"].append(rejected)


@breaks("I4")
def a_decision_was_taken_back_by_nobody(e: Evidence) -> None:
    undone = dict(e.tables["catalog.decisions"][0], decision_id=ids.derive("another"), state="undone")
    e.tables["catalog.decisions"].append(undone)


@breaks("I4")
def it_was_rejected_without_a_decision(e: Evidence) -> None:
    say(e, one(e, "AssetApproved"), type="AssetRejected", cause="a machine's mood")


@breaks("I1")
def it_was_cancelled_and_nobody_asked_for_it(e: Evidence) -> None:
    e.cancels.clear()
    forget(e, one(e, "CancelRequested"), kept=False)


@breaks("I1")
def it_failed_for_a_reason_of_its_own(e: Evidence) -> None:
    one(e, "JobFailed").body["reason"] = "bad luck"


@breaks("I7")
def a_whole_fact_of_ours_was_set_aside(e: Evidence) -> None:
    e.letters[0].event = one(e, "PromptAssembled").id


@breaks("I4")
def an_id_has_two_meanings(e: Evidence) -> None:
    e.differing[one(e, "ImageGenerated").id] = {"a", "b"}


@breaks("I4")
def the_headers_say_something_else(e: Evidence) -> None:
    e.misnamed[one(e, "ImageGenerated").id] = "ce_jobid"


@breaks("I4")
def a_fact_was_told_and_not_kept(e: Evidence) -> None:
    e.kept.pop(0)


@breaks("I4")
def a_fact_was_kept_and_never_told(e: Evidence) -> None:
    forget(e, one(e, "CancelRequested"))


@breaks("I4")
def a_fact_is_kept_twice(e: Evidence) -> None:
    e.kept.append(replace(e.kept[0], about=ids.derive("elsewhere")))


@breaks("I4")
def a_fact_is_kept_with_another_meaning(e: Evidence) -> None:
    e.kept[0].digest = "other"


@breaks("I4")
def a_manifest_names_another_image(e: Evidence) -> None:
    row(e, "inference.replays", replay_id=REPLAY).update(backend="proof", verdict="drifted", cost=Decimal("0.04"))
    e.calls[:] = [line for line in e.calls if line["attempt_id"] != REPLAY]


@breaks("I4")
def it_was_made_without_the_picture_that_it_was_to_begin_from(e: Evidence) -> None:
    e.calls[0] = dict(e.calls[0], pictures=0, sha256=[])


@breaks("I4")
def it_was_made_from_anothers_picture(e: Evidence) -> None:
    e.calls[0] = dict(e.calls[0], sha256=[sha("another picture")])


@breaks("I4")
def nothing_can_be_made_again(e: Evidence) -> None:
    row(e, "inference.replays", replay_id=REPLAY).update(backend="proof", verdict=None, state="failed")
    e.calls[:] = [line for line in e.calls if line["attempt_id"] != REPLAY]


# -- I5


@breaks("I5")
def a_call_was_billed_twice(e: Evidence) -> None:
    e.charges.append(dict(e.charges[0]))


@breaks("I5")
def a_billed_call_is_nobodys(e: Evidence) -> None:
    e.charges.append({"attempt_id": ids.derive("nobody's"), "amount": "0.04"})


@breaks("I5")
def a_billed_call_is_failed_at_no_cost(e: Evidence) -> None:
    for table in ("inference.attempts", "intake.attempts", "catalog.attempts"):
        row(e, table, job_id=UNCERTAIN)["state"] = "failed"


@breaks("I5")
def what_was_never_billed_is_settled(e: Evidence) -> None:
    e.charges[:] = e.charges[1:]


@breaks("I5")
def another_than_it_is_booked_for_was_called(e: Evidence) -> None:
    e.calls[0] = dict(e.calls[0], by="zenith")


@breaks("I5")
def an_uncertain_call_was_repeated(e: Evidence) -> None:
    e.tables["inference.attempts"].append(
        dict(row(e, "inference.attempts", job_id=UNCERTAIN), number=2, attempt_id=ids.attempt(UNCERTAIN, 1, 2))
    )


@breaks("I5")
def an_attempt_never_ended(e: Evidence) -> None:
    row(e, "inference.attempts", job_id=UNCERTAIN)["state"] = "started"


@breaks("I5")
def no_event_tells_of_an_attempt(e: Evidence) -> None:
    one(e, "JobFailed").body["attempts"] = []


@breaks("I5")
def intake_did_not_hear_of_an_attempt(e: Evidence) -> None:
    drop(e, "intake.attempts", job_id=UNCERTAIN)


@breaks("I5")
def the_catalog_books_another_cost(e: Evidence) -> None:
    row(e, "catalog.attempts", job_id=APPROVED)["cost"] = Decimal(1)


@breaks("I5")
def somebody_booked_what_nobody_made(e: Evidence) -> None:
    drop(e, "inference.attempts", job_id=APPROVED)


@breaks("I5")
def an_attempt_was_settled_twice(e: Evidence) -> None:
    attempt = {"attempt_id": ids.attempt(UNCERTAIN, 1, 1), "cost": None}
    for cause in ("a", "b"):
        say(e, one(e, "JobFailed"), type="AttemptSettled", cause=cause, body={"attempt": attempt})


@breaks("I5")
def spending_is_not_the_sum(e: Evidence) -> None:
    row(e, "intake.spending", day=DAY)["cost"] = Decimal("0.12")


@breaks("I5")
def what_nobody_knows_is_counted_as_known(e: Evidence) -> None:
    row(e, "intake.spending", day=DAY)["unpriced"] = 0


@breaks("I5")
def what_an_uncertain_call_may_cost_is_set_aside_no_longer(e: Evidence) -> None:
    row(e, "inference.spend", day=DAY)["reserved"] = Decimal(0)


@breaks("I5")
def a_replay_passed_the_cap_uncounted(e: Evidence) -> None:
    row(e, "inference.spend", day=DAY)["settled"] = Decimal("0.08")


@breaks("I5")
def a_replay_was_billed_twice(e: Evidence) -> None:
    e.charges.append(dict(next(line for line in e.charges if line["attempt_id"] == REPLAY)))


@breaks("I5")
def another_price_was_booked_than_was_billed(e: Evidence) -> None:
    e.charges[0] = dict(e.charges[0], amount="0.05")


# -- I6


@breaks("I6")
def quota_was_reserved_twice(e: Evidence) -> None:
    row(e, "intake.quotas", day=DAY)["jobs"] = 6


@breaks("I6")
def an_end_was_counted_twice(e: Evidence) -> None:
    row(e, "intake.quotas", day=DAY)["ended"] = 4


@breaks("I6")
def quota_of_a_day_is_gone(e: Evidence) -> None:
    e.tables["intake.quotas"].clear()


@breaks("I6")
def intake_never_heard_of_an_end(e: Evidence) -> None:
    drop(e, "intake.job_ends", job_id=UNCERTAIN)


@breaks("I6")
def quota_was_given_back_though_it_cost_an_attempt(e: Evidence) -> None:
    row(e, "intake.job_ends", job_id=CANCELLED)["released"] = True


@breaks("I6")
def intake_settled_what_never_ended(e: Evidence) -> None:
    e.tables["intake.job_ends"].append(dict(row(e, "intake.job_ends", job_id=CANCELLED), run=2))


# -- I7


@breaks("I7")
def a_dead_letter_waits_for_ever(e: Evidence) -> None:
    row(e, "catalog.dead_letters", origin=LETTER)["state"] = "waiting"


@breaks("I7")
def a_replay_never_ended(e: Evidence) -> None:
    row(e, "catalog.dead_letters", origin=LETTER)["state"] = "replaying"


@breaks("I7")
def nobody_sees_a_dead_letter(e: Evidence) -> None:
    e.letters.append(Letter(origin="p.jobs-ended.v1/0/8", group="intake", reason="bad_body"))


@breaks("I7")
def the_job_of_a_dead_letter_waits(e: Evidence) -> None:
    row(e, "catalog.dead_letters", origin=LETTER)["about"] = CANCELLED
    row(e, "catalog.jobs", job_id=CANCELLED)["rank"] = 0


@breaks("I7")
def poison_passed_unnoticed(e: Evidence) -> None:
    e.poison.append(dict(e.poison[0], offset=9))


# -- I8


@breaks("I8")
def a_confidential_prompt_was_sent_to_the_cloud(e: Evidence) -> None:
    e.calls[0] = dict(e.calls[0], prompt="calm level-confidential")


@breaks("I8")
def a_secret_stands_in_a_log(e: Evidence) -> None:
    e.leaks.append(Leak(what="secret 0", where="file intake.log"))


@breaks("I8")
def a_stranger_reads_a_job(e: Evidence) -> None:
    e.reached[0].status = 200


@breaks("I8")
def a_stranger_is_told_that_it_exists(e: Evidence) -> None:
    e.reached[0].status = 403


@breaks("I8")
def a_strangers_list_shows_it(e: Evidence) -> None:
    e.reached.append(Reached(path="GET /v1/assets?limit=5", status=200, shown=True))


# -- I10


@breaks("I10")
def an_event_is_on_another_trace(e: Evidence) -> None:
    one(e, "AssetPublished").trace = "1" * 32


@breaks("I10")
def an_event_is_on_no_trace(e: Evidence) -> None:
    one(e, "RequestCompleted").trace = None


@breaks("I10")
def the_callers_trace_ends_here(e: Evidence) -> None:
    for event in e.events.values():
        event.trace = "1" * 32


@breaks("I10")
def two_requests_share_a_trace(e: Evidence) -> None:
    other = ids.request_over_http(WORKSPACE, "load", "other")
    e.tables["intake.requests"].append(dict(row(e, "intake.requests", request_id=REQUEST), request_id=other))
    say(e, one(e, "RequestAccepted"), request=other, subject=other)


@breaks("I10")
def work_is_on_another_trace(e: Evidence) -> None:
    e.spans[0] = dict(e.spans[0], trace_id="1" * 32)


@breaks("I10")
def a_decision_is_on_another_trace(e: Evidence) -> None:
    e.spans[1] = dict(e.spans[1], trace_id="1" * 32)


@breaks("I10")
def an_event_is_handled_on_nobodys_trace(e: Evidence) -> None:
    e.spans[2] = dict(e.spans[2], trace_id="1" * 32)


@breaks("I10")
def an_event_is_handled_on_another_requests_trace(e: Evidence) -> None:
    e.spans[2] = dict(e.spans[2], attributes={"calotype.request": REQUEST}, trace_id="1" * 32)


@breaks("I10")
def no_span_of_a_decision_came(e: Evidence) -> None:
    del e.spans[1]


@breaks("I10")
def a_job_is_both_cancelled_and_approved(e: Evidence) -> None:
    say(e, one(e, "JobCancelled"), job=APPROVED, subject=APPROVED)


# -- at rest


@breaks("rest")
def facts_were_never_sent(e: Evidence) -> None:
    e.unfinished["catalog.outbox: not sent"] = 3


# -- tests


def test_a_world_that_kept_every_promise_passes() -> None:
    assert judge(clean()) == []


@pytest.mark.parametrize("name", BREAKS)
def test_a_broken_promise_is_named(name: str) -> None:
    invariant, how = BREAKS[name]
    evidence = clean()
    how(evidence)
    evidence.__dict__ = {key: value for key, value in evidence.__dict__.items() if key not in {"of_type", "ends"}}
    found = judge(evidence)
    assert invariant in {violation.invariant for violation in found}, found


def test_every_invariant_is_broken_in_several_ways() -> None:
    ways = Counter(invariant for invariant, _ in BREAKS.values())
    assert set(ways) == {"I1", "I2", "I3", "I4", "I5", "I6", "I7", "I8", "I10", "rest"}
    assert len(ALL) == 15 and min(many for name, many in ways.items() if name != "rest") >= 4


def test_a_row_of_a_file_that_was_called_off_may_never_be_read() -> None:
    evidence = clean()
    BREAKS["a_promised_row_of_a_file_is_unknown"][1](evidence)
    evidence.tables["intake.batches"] = [{"batch_id": "b1", "workspace": WORKSPACE, "name": "b", "state": "cancelled"}]
    evidence.batch_cancels.append({"batch_id": "b1", "workspace": WORKSPACE, "batch": "b", "answered": 202})
    assert judge(evidence) == []


def test_a_version_follows_from_its_files_as_they_were_before_they_were_signed() -> None:
    evidence = clean()
    (web,) = one(evidence, "ImageProcessed", APPROVED).body["files"]
    web |= {"unsigned_sha256": web["sha256"], "sha256": sha("signed")}
    assert "I2" not in {violation.invariant for violation in judge(evidence)}
    web |= {"unsigned_sha256": sha("another")}
    assert "I2" in {violation.invariant for violation in judge(evidence)}


def test_giving_up_a_record_may_end_its_job_beside_its_own_end() -> None:
    evidence = clean()
    letter = ids.dead_letter(LETTER, "catalog")
    say(evidence, one(evidence, "JobFailed"), cause=ids.drop_of(letter), body={"attempts": []})
    assert judge(evidence) == []


def test_a_fact_that_the_catalog_refused_is_missing_in_its_ledger_with_reason() -> None:
    evidence = clean()
    lost = one(evidence, "CancelRequested")
    evidence.kept[:] = [fact for fact in evidence.kept if fact.id != lost.id]
    evidence.letters[0].event = lost.id
    (violation,) = judge(evidence)
    assert (violation.invariant, violation.kind) == ("I7", "lost"), "that it was set aside is what is amiss"


def test_a_replay_that_changes_a_row_makes_one_or_loses_one_is_named() -> None:
    before = {"catalog.jobs": {"(a)": "1", "(b)": "2"}, "intake.quotas": {"(c)": "3"}}
    assert list(differences(before, before, what="a replay")) == []
    after = {"catalog.jobs": {"(a)": "1", "(b)": "9", "(d)": "4"}, "intake.quotas": {}}
    found = {(one.subject, one.kind) for one in differences(before, after, what="a replay")}
    assert found == {("catalog.jobs(b)", "wrong"), ("catalog.jobs(d)", "doubled"), ("intake.quotas(c)", "lost")}


def test_the_verdict_counts_what_was_lost_doubled_and_is_uncertain() -> None:
    evidence = clean()
    a_promised_request_is_unknown(evidence)
    a_webhook_had_two_effects(evidence)
    told = summary(evidence, judge(evidence))
    assert {name: told[name] for name in ("requests", "jobs", "lost", "uncertain")} == {
        "requests": 1,
        "jobs": 3,
        "lost": 1,
        "uncertain": 1,
    }
    assert told["doubled"] == 2 and set(told["by_invariant"]) == {"I1", "I2", "I3"}
    assert "was promised, and intake does not know it" in text(told)


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.json")), ids=lambda path: path.stem)
def test_every_golden_event_is_read_and_its_id_follows(path: Path) -> None:
    golden = orjson.loads(path.read_bytes())
    headers = [(name, value.encode()) for name, value in golden["headers"].items()]
    read = read_event(headers, orjson.dumps(golden["body"]))
    if path.stem == "ImageRequested":
        assert read is None
        return
    assert read is not None
    event, misnamed = read
    assert misnamed is None
    assert (event.type, event.id) == (path.stem, golden["body"]["event_id"])
    assert ids.event(event.type, event.subject, event.cause) == event.id


def test_headers_that_say_something_else_are_named_and_poison_is_no_event() -> None:
    golden = orjson.loads((GOLDEN / "JobFailed.json").read_bytes())
    body = orjson.dumps(golden["body"])
    headers = {name: value.encode() for name, value in golden["headers"].items()} | {"ce_jobid": b"another"}
    read = read_event(headers.items(), body)
    assert read is not None and read[1] == "ce_jobid"
    astray = read_event((headers | {"ce_jobid": b"another"}).items(), body, key=b"another")
    assert astray is not None and astray[1] == "ce_jobid, ce_partitionkey"
    assert read_event((headers | {"ce_source": b"/poison"}).items(), body) is None
    assert read_event(headers.items(), b'{"not": "whole') is None
    assert read_letter([("calotype-origin", b"a/0/1"), ("calotype-group", b"\xff")], "p").origin == "a/0/1"


def test_a_trace_is_read_and_what_is_none_is_none() -> None:
    assert trace_of(f"00-{TRACE}-00f067aa0ba902b7-01") == TRACE
    assert [trace_of(text) for text in (None, b"", "00-1-2-3", b"\xff")] == [None] * 4


def test_a_secret_is_found_across_the_edge_of_two_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.faults.oracle.files.CHUNK", 16)
    (tmp_path / "a.log").write_text("x" * 12 + "the secret" + "y" * 50)
    search = Search({"key 1": "the secret", "none": ""})
    search.look_through(tmp_path)
    assert search.leaks == [Leak(what="key 1", where="file a.log")]


def test_a_ledger_that_was_cut_short_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    (tmp_path / "l.jsonl").write_text('{"a": 1}\n{"a": 2}\n{"a": ')
    assert lines(tmp_path / "l.jsonl") == [{"a": 1}, {"a": 2}]
    assert lines(tmp_path / "none.jsonl") == []


def test_published_sets_are_read_with_their_sidecars_and_leftovers(tmp_path: Path) -> None:
    place = tmp_path / WORKSPACE / "tide" / "tile-1"
    place.mkdir(parents=True)
    (place / "web.png").write_bytes(b"png")
    (place / "tile.json").write_text('{"target": "shelf"}')
    left = tmp_path / WORKSPACE / ".incoming" / "p.1"
    left.mkdir(parents=True)
    (left / "web.png").write_bytes(b"p")
    (found,), leftovers = published(tmp_path)
    assert (found.workspace, found.sidecar, found.files["web.png"]) == (WORKSPACE, {"target": "shelf"}, (3, sha("png")))
    assert leftovers == [f"{WORKSPACE}/.incoming/p.1"]


def test_the_oracle_imports_nothing_of_the_product() -> None:
    for path in ORACLE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                top = name.partition(".")[0]
                assert top in NEEDS | set(sys.stdlib_module_names), f"{path.name} imports {name}"
                assert top != "tests" or name.startswith("tests.faults.oracle"), f"{path.name} imports {name}"


def test_no_module_of_the_product_is_there_when_the_oracle_runs() -> None:
    program = "import sys, tests.faults.oracle.__main__; print(*{name.partition('.')[0] for name in sys.modules})"
    said = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()
    assert not {"shared", "services", "deploy"} & set(said)


def test_a_rejected_ask_is_known_by_the_id_that_its_sender_gave() -> None:
    assert one(clean(), "RequestRejected").subject == ASKED_ON_KAFKA


def test_a_field_that_only_the_next_version_knows_is_no_other_meaning() -> None:
    now, then = b'{"event_id":"a","run":1}', b'{"event_id":"a",%s"run":1}' % NEXT_VERSION.encode()
    assert meaning(now) == meaning(then) != meaning(b'{"event_id":"a","run":2}')
