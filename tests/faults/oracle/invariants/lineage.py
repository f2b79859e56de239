"""I4: from what was published back to what was asked without a gap; every byte that a fact names is there."""

from collections import defaultdict
from collections.abc import Iterator
from functools import partial

from tests.faults.oracle import ids
from tests.faults.oracle.evidence import Event, Evidence, Row, Violation, is_anew, is_by_check
from tests.faults.oracle.invariants.ends import promised
from tests.faults.oracle.reading import document_key, documents_of, files_of

Broken = partial(Violation, invariant="I4")


def check(evidence: Evidence) -> Iterator[Violation]:
    yield from _back(evidence)
    yield from _bytes(evidence)
    yield from _decided(evidence)
    yield from _pictures(evidence)


def _pictures(evidence: Evidence) -> Iterator[Violation]:
    """Whoever was called was given the pictures that the request names, and no others."""
    called: defaultdict[str, list[Row]] = defaultdict(list)
    for line in evidence.calls:
        called[line["attempt_id"]].append(line)
    asked = {promised(line): line["pictures"] for line in evidence.accepted if "pictures" in line}
    requests = {row["job_id"]: row["request_id"] for row in evidence.table("catalog.jobs")}
    for row in evidence.table("inference.attempts"):
        wanted = asked.get(requests.get(row["job_id"], ""))
        if wanted is None:
            continue
        for line in called[row["attempt_id"]]:
            # Not every provider is sent them as they are; how many they were is known of all.
            if line["pictures"] != len(wanted) or (line["sha256"] and sorted(line["sha256"]) != sorted(wanted)):
                what = f"was to begin from {wanted}, and {line['by']} was given {line['sha256'] or line['pictures']}"
                yield Broken(subject=row["job_id"], what=what, evidence=row["attempt_id"])


def _back(evidence: Evidence) -> Iterator[Violation]:
    processed = {event.body["asset_version_id"]: event for event in evidence.all_of("ImageProcessed")}
    approved = {event.body["asset_version_id"]: event for event in evidence.all_of("AssetApproved")}
    decisions = evidence.by("catalog.decisions", "decision_id")
    for event in evidence.all_of("AssetPublished"):
        if event.body["asset_version_id"] not in approved:
            yield Broken(subject=event.subject, what="was published, and nobody approved that version")
    for version, event in approved.items():
        decision = decisions.get(event.cause)
        if decision is None or decision["asset_version_id"] != version:
            yield Broken(subject=version, what="was approved by no decision on that version", evidence=event.cause)
        elif (decision["decision"], decision["state"]) != ("approve", "final"):
            yield Broken(subject=version, what=f"was approved by a decision that is {decision['state']}")
        made = processed.get(version)
        if made is None:
            yield Broken(subject=version, what="was approved, and nobody made that version")
        elif gap := _gap(evidence, made, processed, approved):
            yield Broken(subject=version, what=gap, evidence=made.id)


def _decided(evidence: Evidence) -> Iterator[Violation]:
    """What a person was told is decided stands, and came to exactly what was decided."""
    decisions = evidence.by("catalog.decisions", "decision_id")
    taken_back = {line["decision_id"] for line in evidence.decisions if line["decision"] == "undo"}
    for line in evidence.decisions:
        if line["answered"] == "taken" and line["decision_id"] not in decisions:
            yield Broken(subject=line["decision_id"], what="was taken, and nobody knows of it", kind="lost")
    told: dict[str, list[str]] = defaultdict(list)
    for event in evidence.all_of("AssetApproved", "AssetRejected"):
        decision = _of_check(evidence, event) if is_by_check(event) else event.cause
        told[decision].append(event.type)
        if decision not in decisions:
            yield Broken(subject=event.subject, what=f"has an {event.type} that nobody decided")
    for decision_id, row in decisions.items():
        wanted = {"approve": ["AssetApproved"], "reject": ["AssetRejected"]}[row["decision"]]
        if told[decision_id] != (wanted if row["state"] == "final" else []):
            what = f"to {row['decision']} is {row['state']}, and came to {told[decision_id] or 'nothing'}"
            yield Broken(subject=decision_id, what=what, kind="lost" if not told[decision_id] else "wrong")
        if row["state"] == "undone" and decision_id not in taken_back and not _was_overtaken(evidence, row):
            yield Broken(subject=decision_id, what="was taken back by nobody", kind="lost")


def _of_check(evidence: Evidence, rejected: Event) -> str:
    """A check decides on a picture as it comes, before anybody: the picture's own fact is the cause."""
    version = rejected.body["asset_version_id"]
    picture = evidence.events.get(rejected.cause)
    is_its = picture is not None and picture.type == "ImageProcessed" and picture.body["asset_version_id"] == version
    return ids.decision(version, 0) if is_its else "nobody's"


def _was_overtaken(evidence: Evidence, decision: Row) -> bool:
    """Whether its job was called off, or begun anew, meanwhile."""
    job = decision["job_id"]
    ended = {event.type for event in evidence.ends.get((job, decision["run"]), [])}
    return "JobCancelled" in ended or evidence.last_run.get(job, 1) > decision["run"]


def _gap(evidence: Evidence, processed: Event, made: dict[str, Event], approved: dict[str, Event]) -> str | None:
    """Where the way from an asset version back to its request ends too early."""
    while is_anew(processed):
        ask, old = evidence.events.get(processed.cause), processed.body["supersedes"]
        if ask is None or ask.type != "DerivativesRequested" or (ask.subject, _who(ask)) != (old, _who(processed)):
            return "was made anew, and nobody asked for that"
        if old not in made or old not in approved:
            return "takes the place of a version that nobody approved"
        if made[old].body["original"]["sha256"] != processed.body["original"]["sha256"]:
            return "takes the place of a version of other bytes"
        processed = made[old]
    return _first_gap(evidence, processed)


def _first_gap(evidence: Evidence, processed: Event) -> str | None:
    generated = evidence.events.get(processed.cause)
    if generated is None or generated.type != "ImageGenerated" or _who(generated) != _who(processed):
        return "comes from no generated image of its job"
    if generated.body["original"]["sha256"] != processed.body["original"]["sha256"]:
        return "comes from an image with other bytes"
    began = evidence.events.get(generated.cause)
    if began is None or began.type not in {"PromptAssembled", "JobRetried"} or began.job != processed.job:
        return "comes from no prompt of its job"
    if began.type == "PromptAssembled":
        accepted = evidence.events.get(began.cause)
        if accepted is None or accepted.type != "RequestAccepted" or accepted.request != processed.request:
            return "comes from no accepted request"
    return None


def _who(event: Event) -> tuple[str | None, int]:
    return event.job, event.run


def _bytes(evidence: Evidence) -> Iterator[Violation]:
    wanted: dict[str, tuple[int | None, str]] = {}
    for event in evidence.all_of("ImageGenerated", "ImageProcessed"):
        for file in files_of(event):
            if file["bytes"]:  # a backend that makes nothing stores nothing
                wanted[file["key"]] = file["bytes"], file["sha256"]
    for event in evidence.all_of("RequestAccepted"):
        for pin in documents_of(event):
            wanted[document_key(event.workspace, pin["digest"])] = None, pin["digest"]
    for key, (size, sha256) in wanted.items():
        found = evidence.blobs.get(key)
        if found is None:
            yield Broken(subject=key, what="an event names it, and nothing is stored there", kind="lost")
        elif found[1] != sha256 or size not in {None, found[0]}:
            yield Broken(subject=key, what="has other bytes than the event says", evidence=found)
        elif sha256 not in key:
            yield Broken(subject=key, what="is not named by the hash of its bytes")
