"""From records to rows: what is kept of each fact, and what is never let in."""

from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import permutations
from typing import Any
from uuid import UUID

import orjson
import pytest

from services.catalog.deadletters import read_dead_letter
from services.catalog.handler import DEAD, HEARD
from services.catalog.ledger.facts import ONLY_READ, about, gather, hear, heard
from services.catalog.ledger.lives import causes_first
from services.catalog.ledger.words import WORDS, stage_of, words
from shared import ids
from shared.contracts.golden import golden
from shared.decoding import SetAside
from shared.events import ALL, Arrived, AttemptSettled, AttemptState, Event, JobProgressed, Verified
from shared.kafka import record_of
from shared.topics import IMAGES_GENERATED, IMAGES_PROCESSED, TOPIC_OF, TOPICS
from tests.catalog.facts import BEGIN, Request

REQUEST = Request(variants=2)
JOB, OTHER = REQUEST.jobs


@dataclass
class Kept:
    """A record as a consumer gets it."""

    value: bytes | None
    headers: list[tuple[str, bytes]]
    topic: str = "a-topic"
    partition: int = 0
    offset: int = 7
    key: bytes | None = b"key"
    timestamp: int = field(default_factory=lambda: int(BEGIN.timestamp() * 1000) + 5000)


def kept(event: Event, **changed: Any) -> Kept:
    record = record_of(event, prefix="")
    return replace(Kept(record.body, record.headers), **changed)


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_every_event_of_the_contract_is_read_and_has_words(kind: type[Event]) -> None:
    event = golden(kind)
    topic = TOPIC_OF[kind]
    timestamp = int(event.occurred_at.timestamp() * 1000)
    fact = hear(kept(event, timestamp=timestamp), topic)
    assert (fact.kind, fact.at, fact.text) == (kind.__name__, event.occurred_at, event.body().decode())
    batch = gather([fact])
    assert len(batch.facts) == (0 if kind is JobProgressed else 1)
    assert stage_of(fact.kind, fact.body)
    assert words(fact.kind, fact.body) or kind is JobProgressed


def test_only_progress_goes_without_words() -> None:
    assert {kind.__name__ for kind in ALL} - set(WORDS) == {"JobProgressed"}


def test_a_fact_is_kept_as_it_was_said() -> None:
    """Also fields that only a newer release knows."""
    body = orjson.loads(JOB.generated().body()) | {"invented_later": {"by": "somebody"}}
    record = kept(JOB.generated(), value=orjson.dumps(body))
    (row,) = gather([hear(record, IMAGES_GENERATED)]).facts
    assert orjson.loads(row[6]) == body


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"value": b"{"}, "bad_body"),
        ({"value": None}, "bad_body"),
        ({"value": b"[1, 2]"}, "bad_body"),
        ({"value": b'{"event_id": "x"}'}, "bad_body"),
        ({"value": JOB.processed().body().replace(b"An amber", b"An \\u0000 amber")}, "bad_body"),
        ({"value": b"\xff\xfe"}, "bad_body"),
        ({"headers": [("ce_type", b"calotype.Unheard")]}, "unknown_type"),
        ({"headers": []}, "bad_header"),
        ({"headers": [("ce_type", b"calotype.ImageGenerated")]}, "unknown_type"),
        ({"timestamp": int((BEGIN + timedelta(days=9)).timestamp() * 1000)}, "stale"),
    ],
)
def test_a_poison_record_is_set_aside_with_its_reason(changed: dict[str, Any], reason: str) -> None:
    with pytest.raises(SetAside) as aside:
        hear(kept(JOB.processed(), **changed), IMAGES_PROCESSED)
    assert aside.value.bad.reason == reason


def test_nothing_that_is_only_read_can_end_a_job() -> None:
    """What ends something is validated in full before it is believed."""
    assert {"RequestAccepted", "PromptAssembled", "ImageGenerated", "ImageProcessed"} == ONLY_READ


def test_facts_without_a_job_belong_to_their_request_or_to_what_they_speak_of() -> None:
    assert about(heard(JOB.generated())) == str(JOB.job_id)
    assert about(heard(REQUEST.accepted())) == str(REQUEST.request_id)
    assert about(heard(REQUEST.cancel())) == str(REQUEST.request_id)
    assert about(heard(REQUEST.cancel(JOB))) == str(JOB.job_id)
    item = heard(golden(next(kind for kind in ALL if kind.__name__ == "LibraryItemChanged")))
    assert UUID(about(item)) == ids.derive("about", item.body["workspace"], "LibraryItemChanged", item.body["item"])


def test_of_two_words_on_an_attempt_the_one_that_knows_more_is_kept() -> None:
    unknown = JOB.generated(attempts=[JOB.attempt(cost=None)])
    settled = AttemptSettled.of(
        cause_id="invoice",
        occurred_at=BEGIN,
        workspace=REQUEST.workspace,
        request_id=REQUEST.request_id,
        job_id=JOB.job_id,
        attempt=JOB.attempt(cost="0.055").model_copy(update={"state": AttemptState.UNCERTAIN}),
    )
    for order in ([unknown, JOB.generated(), settled], [settled, unknown, JOB.generated()]):
        (row,) = gather(map(heard, order)).attempts.values()
        assert str(row[7]) == "0.055"


def test_of_an_attempt_it_is_kept_what_was_called_by_which_price_list_it_cost_and_what_of_a_device_it_used() -> None:
    called = {
        "provider_request_id": "req_7",
        "latency_seconds": 2.5,
        "price_list": "routes@3",
        "device_seconds": 0.25,
    }
    attempt = JOB.attempt().model_copy(update=called)
    (row,) = gather([heard(JOB.generated(attempts=[attempt]))]).attempts.values()
    assert row[11:] == tuple(called.values())


def test_of_a_publication_that_failed_and_is_uncertain_the_later_word_counts() -> None:
    failed, again = JOB.publication_failed(), JOB.publication_failed(after=13)
    for first, second, state in ((False, True, "uncertain"), (True, False, "failed")):
        told = [failed.model_copy(update={"uncertain": first}), again.model_copy(update={"uncertain": second})]
        for order in (told, told[::-1]):
            (row,) = gather(map(heard, order)).publications.values()
            assert row[7] == state


def test_where_a_superseded_version_stands_is_known_in_whichever_order() -> None:
    for order in permutations([JOB.publication_failed(), JOB.published(), JOB.superseded()]):
        (row,) = gather(map(heard, order)).publications.values()
        assert (row[7], row[8]) == ("superseded", "/published/salt-marsh")
        assert (row[9] or "").startswith("superseded by"), "and by what"


def test_what_was_found_where_a_target_serves_is_told_beside_its_publication() -> None:
    published = JOB.published()
    (plain,) = published.receipts
    changed = plain.model_copy(update={"arrived": Arrived.LOST, "said": "its credentials are gone"})
    told = published.model_copy(update={"receipts": [plain, *[changed] * 5], "verified": Verified.CHANGED})
    for fact, said in (
        (published, None),
        (told, "; ".join(["a.png: its credentials are gone"] * 3) + "; 2 more like these"),
    ):
        (row,) = gather([heard(fact)]).publications.values()
        assert (row[7], row[9]) == ("delivered", said)
    assert words("AssetPublished", told.model_dump(mode="json")).endswith("changed: " + str(said))


def test_a_publication_that_failed_and_was_delivered_is_delivered_in_either_order() -> None:
    for order in ([JOB.publication_failed(), JOB.published()], [JOB.published(), JOB.publication_failed(after=13)]):
        (row,) = gather(map(heard, order)).publications.values()
        assert row[7] == "delivered"


def test_no_fact_is_told_before_its_cause_however_wrong_a_clock_is() -> None:
    facts = [
        {"event_id": "effect", "cause_id": "cause", "at": 1},
        {"event_id": "cause", "cause_id": "root", "at": 2},
        {"event_id": "root", "cause_id": "a request", "at": 3},
        {"event_id": "circle", "cause_id": "circle", "at": 4},
    ]
    assert [fact["event_id"] for fact in causes_first(facts)] == ["root", "cause", "effect", "circle"]


def test_the_catalog_hears_what_the_table_of_topics_says() -> None:
    assert {topic.name for topic in HEARD} == {topic.name for topic in TOPICS if "catalog" in topic.consumers}
    assert {topic.name for topic in DEAD} == {topic.dead_letters for topic in TOPICS}


def test_a_dead_letter_without_our_headers_is_about_what_its_body_names() -> None:
    """Or a job that waits for it would wait for ever: the drop ends what the letter is about."""
    job, request = str(UUID(int=1)), str(UUID(int=2))
    body = orjson.dumps({"job_id": job, "request_id": request, "seed": "no number"})
    record = Kept(body, [("ce_type", b"calotype.PromptAssembled")], topic="prompts-assembled.v1.dlq", key=None)
    letter = read_dead_letter(record, DEAD[0])
    assert (letter.about, letter.request_id) == (UUID(job), UUID(request))
    whole = Kept(body, [("ce_jobid", str(UUID(int=3)).encode())], topic="prompts-assembled.v1.dlq", key=None)
    assert read_dead_letter(whole, DEAD[0]).about == UUID(int=3), "where both speak, the header is what we wrote"


def test_any_bytes_at_all_make_a_dead_letter() -> None:
    """It has nowhere left to go, so nothing about it may be refused."""
    record = Kept(
        b"\x00\xff",
        [("ce_jobid", b"\xff"), ("ce_workspace", b"no id"), ("calotype-detail", b"a\x00b"), ("odd", b"\xfe")],
        topic="images-generated.v1.dlq",
        key=None,
    )
    letter = read_dead_letter(record, DEAD[0])
    assert (letter.about, letter.workspace, letter.value, letter.key) == (None, None, b"\x00\xff", None)
    assert "\x00" not in letter.detail + letter.headers
    assert letter.dead_letter_id == read_dead_letter(record, DEAD[0]).dead_letter_id
