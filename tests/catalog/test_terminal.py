"""A life and its causes as a terminal shows them."""

from typing import Any

import pytest
from rich.console import RenderableType

from deploy.cli import trace, why
from deploy.cli.terminal import verbatim
from services.catalog.ledger.words import words
from tests.catalog.facts import Request

REQUEST = Request(variants=2)
JOB, OTHER = REQUEST.jobs


def plain(drawn: RenderableType, *, width: int = 120) -> str:
    console = verbatim(width=width, record=True, file=None, quiet=False, no_color=True)
    with console.capture() as captured:
        console.print(drawn, crop=False)
    return captured.get()


def fact(event: Any) -> dict[str, Any]:
    body = event.model_dump(mode="json", exclude_none=True)
    kind = type(event).__name__
    return {
        "type": kind,
        "at": event.occurred_at.isoformat(),
        "stage": "a stage",
        "job_id": body.get("job_id"),
        "words": words(kind, body),
    }


def job(which: Any, status: str = "completed", **changed: Any) -> dict[str, Any]:
    return {
        "job_id": str(which.job_id),
        "request_id": str(REQUEST.request_id),
        "asset_id": str(which.asset_id),
        "variant": which.variant,
        "product": "Salt Marsh",
        "skus": ["SL-CND-220"],
        "asset_type": "tile",
        "status": status,
        "waiting_on": None,
        "why": "waits for a person's decision",
    } | changed


def life(*jobs: dict[str, Any], **changed: Any) -> dict[str, Any]:
    facts = [fact(event) for event in REQUEST.life()]
    wanted = {one["job_id"] for one in jobs} | {None}
    return {
        "id": str(REQUEST.request_id),
        "kind": "request",
        "jobs": list(jobs),
        "facts": [one for one in facts if one["job_id"] in wanted],
        "trace_ids": ["4bf92f3577b34da6a3ce929d0e0e4736"],
        "dead_letters": [],
        "requests_left_out": 0,
    } | changed


def test_one_job_is_told_from_top_to_bottom() -> None:
    said = plain(trace.drawn(life(job(JOB))))
    places = [said.index(words) for words in ("request accepted", "prompt assembled", "image generated")]
    assert places == sorted(places)
    assert "■ completed" in said
    assert "+4.00 s" in said
    assert "4bf92f3577b34da6a3ce929d0e0e4736" in said


def test_each_job_of_a_request_has_its_own_facts_under_its_name() -> None:
    said = plain(trace.drawn(life(job(JOB), job(OTHER, "failed"))))
    first, second = said.index(str(JOB.job_id)), said.index(str(OTHER.job_id))
    assert said.index("request accepted") < first < said.index("prompt assembled") < second
    assert said.count("image processed") == 2
    assert "▲ 1 failed" in said


def test_a_refused_record_stands_in_the_life_with_the_command_that_shows_it() -> None:
    letter = {
        "dead_letter_id": "9c1e",
        "consumer_group": "prompt",
        "reason": "bad_body",
        "detail": "no such field",
        "state": "waiting",
        "ended_by": None,
    }
    said = plain(trace.drawn(life(job(JOB), dead_letters=[letter])))
    assert "▲ refused by prompt  bad_body: no such field" in said
    assert "calotype dlq show 9c1e" in said


def test_a_job_that_is_held_reads_waiting() -> None:
    assert "◌ waiting" in plain(trace.drawn(life(job(JOB, "pending", waiting_on="rate"))))


def test_the_life_of_what_has_no_job_is_told_too() -> None:
    assert "request of 0 jobs" in plain(trace.drawn(life(facts=[])))


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.25, "+0.25 s"), (119, "+119.00 s"), (150, "+2.5 min"), (10_800, "+3.0 h"), (260_000, "+3.0 d")],
)
def test_a_time_is_told_in_the_unit_a_person_would_use(seconds: float, said: str) -> None:
    assert trace.after(seconds) == said


NOWHERE = {
    "backend": None,
    "rule": "all",
    "table": "routes@3",
    "reason": "rule 'all' permits none of its backends",
    "refused": {"cloud": "it is not private", "old": "its life ended on 2026-09-30"},
}


def test_a_life_tells_where_the_job_was_sent_and_why_not_to_each_other_backend() -> None:
    sent = NOWHERE | {"backend": "proof", "reason": "public work, by rule 'all'"}
    said = plain(trace.drawn(life(job(JOB, route=sent))))
    assert "route  proof  public work, by rule 'all' (routes@3)" in said
    assert "not    old    its life ended on 2026-09-30" in said
    assert "route  none   no backend may take it (routes@3)" in plain(trace.drawn(life(job(JOB, route=NOWHERE))))
    assert "route" not in plain(trace.drawn(life(job(JOB, route=None))))


def test_what_no_backend_may_take_says_why_not_each() -> None:
    failed = cause(5, status="failed", cause="unroutable", since=None, moves=None, command=None, route=NOWHERE)
    said = plain(why.drawn({"kind": "job", "jobs": [failed], "jobs_left_out": 0}))
    assert "not    cloud  it is not private" in said


def cause(number: int, **changed: Any) -> dict[str, Any]:
    return {
        "variant": number,
        "product": "Salt Marsh",
        "status": "completed",
        "cause": "waits for a person's decision",
        "since": f"2026-11-22T14:02:0{number}+00:00",
        "owner": "the reviewers",
        "moves": "when somebody decides",
        "command": f"open http://127.0.0.1:8420/review?asset={'7' * 30}{number}",
    } | changed


def test_jobs_of_one_cause_are_told_together_the_most_first() -> None:
    failed = cause(5, status="failed", cause="unroutable", since=None, moves=None, command=None)
    found: dict[str, Any] = {"kind": "request", "jobs": [failed, cause(1), cause(3)], "jobs_left_out": 0}
    said = plain(why.drawn(found), width=60)
    assert said.index("2 jobs") < said.index("Salt Marsh, variant 5")
    assert "14:02:01 to 14:02:03 UTC" in said
    assert "moves  no more" in said
    assert found["jobs"][1]["command"] in said, "a command is never broken: it is there to be copied"


def test_what_has_no_jobs_yet_says_so() -> None:
    assert "no jobs yet" in plain(why.drawn({"kind": "batch", "jobs": [], "jobs_left_out": 0}))
