"""What may go where, and when a publication counts as delivered."""

import json
from dataclasses import replace

import pytest

from services.publisher.domain import (
    TRANSITIONS,
    Delivered,
    Newer,
    Refusal,
    delivery_of,
    difference,
    failed,
    published,
    refusal_of,
    superseded,
)
from shared.events import Confidentiality, PublicationState, Receipt, SourceType
from tests.publisher.builders import APPROVED_AT, FILES, approved, delivery, public_file, target_document

LEVELS = (Confidentiality.PUBLIC, Confidentiality.INTERNAL, Confidentiality.CONFIDENTIAL)


@pytest.mark.parametrize("ceiling", LEVELS)
@pytest.mark.parametrize("level", LEVELS)
def test_nothing_goes_above_a_targets_ceiling(level: Confidentiality, ceiling: Confidentiality) -> None:
    refusal = refusal_of(approved(confidentiality=level), target=target_document(ceiling=ceiling))
    assert (refusal is None) == (LEVELS.index(level) <= LEVELS.index(ceiling))
    assert refusal is None or refusal.code == "above_ceiling"


def test_an_unknown_level_lets_nothing_out_and_nothing_in() -> None:
    unknown = approved(confidentiality="secret-of-a-newer-release")
    assert unknown.confidentiality is Confidentiality.UNKNOWN
    for ceiling in Confidentiality:
        assert refusal_of(unknown, target=target_document(ceiling=ceiling)) is not None
    assert refusal_of(approved(), target=target_document(ceiling=Confidentiality.UNKNOWN)) is not None


@pytest.mark.parametrize("source_type", SourceType)
def test_only_what_a_model_drew_leaves_for_a_target_that_is_not_marked_demo(source_type: SourceType) -> None:
    asset = approved(source_type=source_type)
    drawn = source_type in {SourceType.TRAINED, SourceType.COMPOSITE}
    refusal = refusal_of(asset, target=target_document())
    assert (refusal is None) == drawn
    assert refusal is None or refusal.code == "proof"
    assert refusal_of(asset, target=target_document(demo=True)) is None


def test_an_asset_with_two_files_of_one_name_is_refused_everywhere() -> None:
    twice = [public_file("a", "web", b"1"), public_file("a", "web", b"2")]
    refusal = refusal_of(approved().model_copy(update={"files": twice}), target=target_document(demo=True))
    assert refusal is not None
    assert refusal.code == "file_names"


def test_an_asset_without_files_is_refused_everywhere() -> None:
    assert refusal_of(approved(files={}), target=target_document(demo=True)) is not None


def receipts(files: dict[str, bytes]) -> list[Receipt]:
    made = [public_file("a", rendition, data) for rendition, data in files.items()]
    return [Receipt(location="x", sha256=file.sha256, bytes=file.bytes, name=file.name) for file in made]


def test_what_reads_back_as_approved_is_delivered_whatever_lies_beside_it() -> None:
    assert difference(approved(), receipts(FILES)) is None
    assert difference(approved(), receipts(FILES | {"added-by-somebody": b"x"})) is None


@pytest.mark.parametrize("rendition", FILES)
def test_a_file_that_is_missing_or_has_other_bytes_is_named(rendition: str) -> None:
    for found in (
        {name: data for name, data in FILES.items() if name != rendition},
        FILES | {rendition: FILES[rendition][:-1] + b"!"},
    ):
        wrong = difference(approved(), receipts(found))
        assert wrong is not None
        assert f"winter-home-a-{rendition}.png" in wrong.detail


def test_the_facts_have_the_same_id_each_time_and_carry_every_public_file() -> None:
    ended = Delivered(location="file:///x", receipts=receipts(FILES))
    event = published(delivery(), ended, now=APPROVED_AT)
    assert event == published(delivery(), ended, now=APPROVED_AT)
    assert event.files == approved().files
    assert event.cause_id == approved().event_id
    assert event.client_reference == "PO-7"
    refusal = Refusal(code="c", detail="d", remedy="r")
    assert failed(delivery(), refusal, now=APPROVED_AT).event_id != event.event_id


def test_two_targets_are_two_publications_of_one_asset_version() -> None:
    first, second = delivery_of(approved(), target="site"), delivery_of(approved(), target="dam")
    assert first.publication_id != second.publication_id
    assert first.publication_id == delivery_of(approved(), target="site").publication_id


def test_the_sidecar_says_every_public_fact_in_the_same_bytes_each_time() -> None:
    sidecar = delivery().sidecar
    assert sidecar == delivery().sidecar
    facts = json.loads(sidecar)
    assert facts == json.loads(approved().body()) | {
        "publication_id": str(delivery().publication_id),
        "target": "site",
    }


def test_delivered_is_left_only_by_recall_or_replacement_and_withdrawn_never() -> None:
    assert TRANSITIONS[PublicationState.DELIVERED] == {PublicationState.SUPERSEDED, PublicationState.WITHDRAWN}
    assert PublicationState.WITHDRAWN not in TRANSITIONS
    assert PublicationState.UNKNOWN not in set(TRANSITIONS).union(*TRANSITIONS.values())


def test_a_version_that_was_approved_later_supersedes_by_its_approval() -> None:
    later = approved("later")
    newer = Newer.of(later.body().decode())
    fact = superseded(delivery(), newer, now=APPROVED_AT)
    assert (fact.publication_id, fact.asset_version_id) == (
        delivery().publication_id,
        delivery().asset.asset_version_id,
    )
    assert (fact.superseded_by, fact.cause_id) == (later.asset_version_id, later.event_id)
    again = superseded(delivery(), newer, now=APPROVED_AT.replace(day=21))
    assert again.event_id == fact.event_id


def test_a_fresh_start_and_a_persons_word_are_facts_of_their_own() -> None:
    ends = [replace(delivery(), run=run, stated=stated) for run in (1, 2) for stated in (False, True)]
    refusal = Refusal(code="c", detail="d", remedy="r")
    assert len({failed(end, refusal, now=APPROVED_AT).event_id for end in ends}) == len(ends)
