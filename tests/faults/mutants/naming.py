"""Defects of names: ids that are drawn, counted or forgetful, keys that collide."""

import itertools

from shared import ids
from tests.faults.mutants.mutant import Scenario, mutant
from tests.faults.mutants.patching import function

FILES = Scenario(requests=60, seed=2)


@mutant("An event's id is drawn", caught_by="I1 I2 I4 I10")
def event_id_drawn() -> None:
    function(
        "shared.ids:event_id",
        'return derive("event", event_type, subject, cause)',
        "return uuid4()",
    )


@mutant("An event's id holds its place in what this process has said", caught_by="I1 I2 I4")
def event_id_positional() -> None:
    ids._places = itertools.count()  # type: ignore[attr-defined]
    function(
        "shared.ids:event_id",
        'derive("event", event_type, subject, cause)',
        'derive("event", event_type, subject, cause, next(_places))',
    )


@mutant("A job's id counts from nought in one service", stages={"prompt"}, caught_by="I1 I2")
def job_id_by_place() -> None:
    function("shared.ids:job_id", 'derive("job", request_id, variant)', 'derive("job", request_id, variant - 1)')


@mutant("A Kafka request is known by its ce_id alone", stages={"intake"}, caught_by="I1 I2")
def dedupe_on_ce_id_alone() -> None:
    function(
        "shared.ids:request_id_for_kafka",
        'derive("request", "kafka", workspace, source, event_id)',
        'derive("request", "kafka", event_id)',
    )


@mutant("An idempotency key is everybody's", stages={"intake"}, caught_by="I1 I2")
def idempotency_key_without_workspace() -> None:
    function(
        "shared.ids:request_id_for_http",
        'derive("request", "http", workspace, principal, idempotency_key)',
        'derive("request", "http", idempotency_key)',
    )


@mutant("A changed row of a file is the row it was", stages={"intake"}, caught_by="I1 I2", scenario=FILES)
def row_without_its_values() -> None:
    function(
        "shared.ids:request_id_for_row",
        'derive("request", "row", workspace, batch_name, row_key, values_digest)',
        'derive("request", "row", workspace, batch_name, row_key)',
    )


@mutant("An asset version forgets its derivatives", caught_by="I2 I3")
def asset_version_without_derivatives() -> None:
    function(
        "shared.ids:asset_version_id",
        'derive("asset-version", asset, original_sha256, *sorted(derivative_sha256s), *anew)',
        'derive("asset-version", asset, original_sha256, *anew)',
    )


@mutant(
    "A version made anew forgets who asked for it",
    stages={"postprocess"},
    caught_by="I2",
    scenario=Scenario(strikes=["approved_are_made_anew"]),
)
def made_anew_without_its_ask() -> None:
    function("shared.ids:asset_version_id", "*sorted(derivative_sha256s), *anew)", "*sorted(derivative_sha256s))")


@mutant("A publication is known by its approval and not by version and target", stages={"publisher"}, caught_by="I2 I3")
def publication_by_event() -> None:
    function(
        "services.publisher.domain:delivery_of",
        "ids.publication_id(asset.asset_version_id, target)",
        'ids.derive("publication", asset.event_id, target)',
    )


@mutant("A blob's key does not end in its hash", stages={"inference", "postprocess", "publisher"}, caught_by="I1 I3 I4")
def blob_key_without_hash() -> None:
    nought = "0" * 64
    function("shared.blobs:blob_key", "{sha256}", nought)
    for where in ("shared.blobs:same_bytes", "shared.blobs:undamaged"):
        function(
            where,
            'parse_key(key)["sha256"]',
            'parse_key(key)["sha256"].replace("0" * 64, hashlib.sha256(data).hexdigest())',
        )


@mutant("A record's key is its event's, so a job's facts lie in many partitions", caught_by="I4")
def partitioned_by_event() -> None:
    function("shared.kafka:record_of", "event.key", "str(event.event_id).encode()")
