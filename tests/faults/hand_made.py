"""A small world in which every promise was kept, written by hand, for tests to break one at a time."""

import hashlib
import json
from decimal import Decimal
from typing import Any

from tests.faults.oracle import ids
from tests.faults.oracle.evidence import STATUSES, Event, Evidence, Kept, Letter, Reached, Set
from tests.faults.oracle.reading import document_key

WORKSPACE = "0f8fad5b-d9cb-469f-a165-70867728950e"
DAY = "2026-11-22"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE}-00f067aa0ba902b7-01"
REQUEST = ids.request_over_http(WORKSPACE, "load", "key")
ASKED_ON_KAFKA = ids.request_over_kafka(WORKSPACE, "/shop", "wrong")
APPROVED, UNCERTAIN, CANCELLED = (ids.job(REQUEST, variant) for variant in (1, 2, 3))
REPLAY = ids.derive("a replay")
REJECTED = CANCELLED  # in another world than that in which it is cancelled
FOLDER, HOOK = "shelf", "hook"
LETTER = "p.jobs-ended.v1/0/7"


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def file(job: str, name: str) -> dict[str, Any]:
    key = f"ws/{WORKSPACE}/{ids.asset(job, 1)}/{sha(name + job)}.png"
    return {"name": name, "bytes": len(name), "sha256": sha(name + job), "key": key}


def version_of(job: str) -> str:
    return ids.asset_version(ids.asset(job, 1), file(job, "original")["sha256"], [file(job, "web")["sha256"]])


def picture_of(evidence: Evidence, job: str) -> Event:
    return next(event for event in evidence.events.values() if (event.type, event.job) == ("ImageProcessed", job))


class Made:
    """Says facts and keeps what must stand beside them."""

    def __init__(self) -> None:
        self.evidence = Evidence(prefix="p.", is_traced=True)
        self.at = 100.0

    def say(self, kind: str, subject: str, cause: str, *, job: str | None = None, **body: Any) -> Event:
        event = Event(
            id=ids.event(kind, subject, cause),
            type=kind,
            workspace=WORKSPACE,
            cause=cause,
            subject=subject,
            digest=sha(kind + subject + cause),
            request=REQUEST,
            job=job,
            trace=TRACE,
            body=body,
        )
        self.evidence.events[event.id] = event
        self.at += 1
        kept = Kept(
            id=event.id, type=kind, about=job or REQUEST, workspace=WORKSPACE, digest=event.digest, at=self.at,
            trace=TRACE,
        )  # fmt: skip
        self.evidence.kept.append(kept)
        return event

    def rows(self, table: str, *rows: dict[str, Any]) -> None:
        self.evidence.tables.setdefault(table, []).extend(rows)


def clean(*, third: str = "cancelled") -> Evidence:
    """One request of three jobs: published twice, uncertain, cancelled; and a wrong ask that was answered."""
    made = Made()
    evidence = made.evidence
    made.rows("intake.workspaces", {"workspace": WORKSPACE, "name": "load"})
    accepted = made.say("RequestAccepted", REQUEST, REQUEST, variants=3, template={"digest": sha("t")}, recipes={})
    for job, variant in ((APPROVED, 1), (UNCERTAIN, 2), (CANCELLED, 3)):
        prompt = made.say("PromptAssembled", job, accepted.id, job=job, brief={"variant": variant})
        if job == UNCERTAIN:
            lost = _attempt(job, cost=None, state="uncertain")
            made.say("JobFailed", job, prompt.id, job=job, reason="backend_unavailable", attempts=[lost])
        else:
            _processed(made, job, prompt)
    _publish(made)
    (_cancelled if third == "cancelled" else _rejected)(made)
    statuses = {APPROVED: "approved", UNCERTAIN: "failed", CANCELLED: third}
    ends = sorted(f"{job},1,{status}" for job, status in statuses.items())
    made.say("RequestCompleted", REQUEST, sha("\x1f".join(ends)), jobs=dict.fromkeys(statuses.values(), 1))
    _tables(made, statuses)
    _money(made)
    _rest(evidence)
    return evidence


def judged() -> Evidence:
    """The same, but a check rejected the third's picture, which is the first's once more."""
    evidence = clean(third="rejected")
    for seq, job in enumerate((APPROVED, REJECTED)):
        row = {"asset_id": ids.asset(job, 1), "workspace": WORKSPACE, "job_id": job, "seq": seq}
        evidence.tables.setdefault("postprocess.likenesses", []).append(row | {"fingerprint": sha("alike")})
        picture = picture_of(evidence, job)
        sentence = f"It is like asset {ids.asset(APPROVED, 1)} of another job." if seq else "No picture is like it."
        picture.body["verdicts"].append({"check": "twin", "ok": not seq, "sentence": sentence})
    evidence.accepted[0] = {**evidence.accepted[0], "compared": True}
    return evidence


def renewed() -> Evidence:
    """The same, and the approved asset has a new version that was approved too and stands in the old one's place."""
    made = Made()
    made.evidence = evidence = clean()
    made.at = 200.0
    job, old, asset = APPROVED, version_of(APPROVED), ids.asset(APPROVED, 1)
    ask = made.say(
        "DerivativesRequested", old, ids.derive("rerun", old), job=job, asset_id=asset, supersedes=old,
        recipes={"web": {"name": "web", "version": 2, "digest": sha("web@2")}},
    )  # fmt: skip
    evidence.reruns += [
        {"asset_id": asset, "asset_version": old, "recipe": "web@2", "answered": "requested"},
        {"asset_id": asset, "recipe": "web@2", "answered": "refused", "why": "it is being made", "remedy": "wait"},
    ]
    original, square = file(job, "original"), file(job, "square") | {"recipe": "web@2"}
    new = ids.asset_version(asset, original["sha256"], [square["sha256"]], asked=ask.id)
    both = {"asset_id": asset, "asset_version_id": new, "supersedes": old}
    made.say(
        "ImageProcessed", job, ask.id, job=job, original=original, files=[square], proxies=[],
        derivatives_manifest=None, verdicts=[], **both,
    )  # fmt: skip
    evidence.blobs[square["key"]] = square["bytes"], square["sha256"]
    made.rows("catalog.assets", {"asset_id": asset, "asset_version_id": new, "workspace": WORKSPACE, "job_id": job})
    _approve(made, new, files=[original, square], **both)
    for target in (FOLDER, HOOK):
        before = evidence.by("publisher.publications", "publication_id")[ids.publication(old, target)]
        made.say(
            "AssetSuperseded",
            before["publication_id"],
            ids.event("AssetApproved", new, ids.derive("decision", new, 0)),
            job=job,
            publication_id=before["publication_id"],
            asset_version_id=old,
            target=target,
            superseded_by=new,
        )
        for table in ("publisher.publications", "catalog.publications"):
            row = dict(evidence.by(table, "publication_id")[before["publication_id"]])
            evidence.tables[table] = [r for r in evidence.tables[table] if r["publication_id"] != row["publication_id"]]
            made.rows(table, row | {"state": "superseded"})
    return evidence


def _attempt(job: str, *, cost: str | None = "0.04", state: str = "succeeded") -> dict[str, Any]:
    attempt = {"attempt_id": ids.attempt(job, 1, 1), "number": 1, "state": state, "currency": "USD"}
    return attempt | {"cost": cost and Decimal(cost)}


def _processed(made: Made, job: str, prompt: Event) -> None:
    original, web, manifest = (file(job, name) for name in ("original", "web", "manifest"))
    generated = made.say(
        "ImageGenerated", job, prompt.id, job=job, asset_id=ids.asset(job, 1), original=original, manifest=manifest,
        attempts=[_attempt(job)],
    )  # fmt: skip
    made.say(
        "ImageProcessed", job, generated.id, job=job, asset_id=ids.asset(job, 1), asset_version_id=version_of(job),
        original=original, files=[web], proxies=[], derivatives_manifest=None, verdicts=[],
    )  # fmt: skip
    for one in (original, web, manifest):
        made.evidence.blobs[one["key"]] = one["bytes"], one["sha256"]
    made.rows(
        "catalog.assets",
        {"asset_id": ids.asset(job, 1), "asset_version_id": version_of(job), "workspace": WORKSPACE, "job_id": job},
    )


def _cancelled(made: Made) -> None:
    cancel = made.say("CancelRequested", REQUEST, CANCELLED, job=CANCELLED)
    made.say("JobCancelled", CANCELLED, cancel.id, job=CANCELLED, attempts=[])
    made.evidence.cancels.append({"request_id": REQUEST, "job_id": CANCELLED, "answered": 202})


def _rejected(made: Made) -> None:
    version = version_of(REJECTED)
    picture = picture_of(made.evidence, REJECTED)
    fault = {"check": "metadata", "ok": False, "rejecting": True, "code": None, "sentence": "There is no alt text."}
    picture.body["verdicts"].append(fault)
    made.say(
        "AssetRejected", version, picture.id, job=REJECTED, asset_id=ids.asset(REJECTED, 1), asset_version_id=version,
        by={"principal": "check:metadata"}, code="other", reason=fault["sentence"],
    )  # fmt: skip
    decided = {"decision_id": ids.decision(version, 0), "asset_version_id": version, "job_id": REJECTED}
    made.rows("catalog.decisions", decided | {"run": 1, "decision": "reject", "state": "final"})


def _publish(made: Made) -> None:
    for target, kind in ((FOLDER, "folder"), (HOOK, "webhook")):
        document = json.dumps({"type": kind})
        made.rows(
            "publisher.targets",
            {"workspace": WORKSPACE, "name": target, "state": "published", "since": 10.0, "document": document},
        )
    files = [file(APPROVED, name) for name in ("original", "web")]
    _approve(made, version_of(APPROVED), files=files, asset_id=ids.asset(APPROVED, 1))


def _approve(made: Made, version: str, *, files: list[dict[str, Any]], **more: Any) -> None:
    """A version that somebody approved and that stands at both targets."""
    decision = ids.derive("decision", version, 0)
    approved = made.say(
        "AssetApproved", version, decision, job=APPROVED, files=files, **more | {"asset_version_id": version}
    )
    made.rows(
        "catalog.decisions",
        {
            "decision_id": decision,
            "asset_version_id": version,
            "job_id": APPROVED,
            "run": 1,
            "decision": "approve",
            "state": "final",
        },
    )
    made.evidence.decisions.append({"decision_id": decision, "decision": "approve", "answered": "taken"})
    made.rows("publisher.assets", {"asset_version_id": version, "approved_at": made.at})
    for target in (FOLDER, HOOK):
        publication = ids.publication(version, target)
        made.say(
            "AssetPublished", publication, approved.id, job=APPROVED, publication_id=publication, target=target,
            asset_version_id=version,
        )  # fmt: skip
        row = {"publication_id": publication, "asset_version_id": version, "target": target, "state": "delivered"}
        made.rows("publisher.publications", row | {"code": None, "detail": None})
        made.rows("catalog.publications", dict(row))
    sidecar = {"asset_version_id": version, "target": FOLDER}
    stands = {one["name"]: (one["bytes"], one["sha256"]) for one in files} | {"sidecar.json": (2, sha("{}"))}
    made.evidence.sets.append(Set(place=f"file:///{version}", workspace=WORKSPACE, files=stands, sidecar=sidecar))
    posted = {"target": HOOK, "webhook_id": ids.publication(version, HOOK), "asset_version_id": version}
    made.evidence.deliveries += [posted | {"effect": True}, posted | {"effect": False}]


def _tables(made: Made, statuses: dict[str, str]) -> None:
    accepted = {"request_id": REQUEST, "workspace": WORKSPACE, "state": "accepted", "jobs": 3, "day": DAY}
    rejected = {"request_id": ASKED_ON_KAFKA, "workspace": WORKSPACE, "state": "rejected", "jobs": 0, "day": DAY}
    made.rows("intake.requests", accepted, rejected)
    made.rows("catalog.requests", {"request_id": REQUEST, "workspace": WORKSPACE, "completed": True})
    for job, rank in ((job, STATUSES.index(status)) for job, status in statuses.items()):
        common = {"job_id": job, "request_id": REQUEST, "workspace": WORKSPACE, "run": 1}
        made.rows("catalog.jobs", common | {"rank": rank, "reason": None})
        made.rows("intake.job_ends", common | {"released": False})
    made.rows("intake.quotas", {"workspace": WORKSPACE, "day": DAY, "jobs": 3, "ended": 3, "released": 0})
    made.evidence.blobs[document_key(WORKSPACE, sha("t"))] = 9, sha("t")
    letter = {"dead_letter_id": ids.dead_letter(LETTER, "catalog"), "origin": LETTER, "consumer_group": "catalog"}
    made.rows("catalog.dead_letters", letter | {"state": "dropped", "about": None, "workspace": None})


def _money(made: Made) -> None:
    for job in (APPROVED, UNCERTAIN, CANCELLED):
        known = job != UNCERTAIN
        row = _attempt(job, cost="0.04" if known else None, state="succeeded" if known else "uncertain")
        row |= {"job_id": job, "run": 1, "workspace": WORKSPACE, "day": DAY, "backend": "acme-fast"}
        row["reserved"] = Decimal("0.04")
        for table in ("inference.attempts", "intake.attempts", "catalog.attempts"):
            made.rows(table, dict(row))
        line = {"attempt_id": row["attempt_id"], "by": "acme", "visibility": "cloud"}
        made.evidence.calls.append(line | {"prompt": "calm level-public", "pictures": 1, "sha256": [sha("a picture")]})
        made.evidence.charges.append(line | {"charge_id": job, "amount": "0.04"})
    spent = {
        "workspace": WORKSPACE,
        "day": DAY,
        "currency": "USD",
        "cost": Decimal("0.08"),
        "attempts": 3,
        "unpriced": 1,
    }
    made.rows("intake.spending", spent)
    replay = {
        "workspace": WORKSPACE,
        "day": DAY,
        "currency": "USD",
        "cost": Decimal("0.04"),
        "reserved": Decimal("0.04"),
    }
    replay |= {"replay_id": REPLAY, "asset_id": ids.asset(APPROVED, 1), "backend": "stability", "state": "judged"}
    made.rows("inference.replays", replay | {"verdict": "drifted"})
    made.evidence.replays.append({"replay_id": REPLAY})
    line = {"attempt_id": REPLAY, "by": "stability", "visibility": "cloud"}
    made.evidence.calls.append(line | {"prompt": "calm level-public", "pictures": 0, "sha256": []})
    made.evidence.charges.append(line | {"charge_id": REPLAY, "amount": "0.04"})
    sums = {"settled": Decimal("0.12"), "reserved": Decimal("0.04")}
    made.rows("inference.spend", {"workspace": WORKSPACE, "day": DAY, "currency": "USD", **sums})


def _rest(evidence: Evidence) -> None:
    told = {"workspace": WORKSPACE, "traceparent": TRACEPARENT}
    evidence.accepted += [
        told
        | {"via": "http", "principal": "load", "key": "key", "request_id": REQUEST, "variants": 3}
        | {"pictures": [sha("a picture")]}
        | {"jobs": [APPROVED, UNCERTAIN, CANCELLED], "expects": "accepted"},
        told | {"via": "kafka", "source": "/shop", "ce_id": "wrong", "variants": 1, "expects": "rejected"},
    ]
    answer = Event(
        id=ids.event("RequestRejected", ASKED_ON_KAFKA, "wrong"), type="RequestRejected", workspace=WORKSPACE,
        cause="wrong", subject=ASKED_ON_KAFKA, digest="d", request=ASKED_ON_KAFKA, trace=TRACE,
    )  # fmt: skip
    evidence.events[answer.id] = answer
    evidence.kept.append(
        Kept(id=answer.id, type=answer.type, about=ASKED_ON_KAFKA, workspace=WORKSPACE, digest="d", trace=TRACE)
    )
    evidence.letters.append(Letter(origin=LETTER, group="catalog", reason="bad_body"))
    evidence.poison.append({"topic": "jobs-ended.v1", "partition": 0, "offset": 7, "kind": "json", "dies": True})
    evidence.reached += [
        Reached(path=f"GET /v1/jobs/{APPROVED}", status=404),
        Reached(path="GET /v1/jobs?a", status=200),
    ]
    evidence.spans += [
        {"name": "generate proof", "trace_id": TRACE, "attributes": {"calotype.job": APPROVED}},
        {"name": "asset decide", "trace_id": TRACE, "attributes": {"calotype.asset": ids.asset(APPROVED, 1)}},
        {"name": "jobs-ended.v1 process", "trace_id": TRACE, "attributes": {"calotype.event": "JobFailed"}},
        {"name": "image-requests.v1 process", "trace_id": "2" * 32, "attributes": {"calotype.event": "Foreign"}},
        {"name": "catalog batch", "trace_id": "0" * 32, "attributes": {}},
    ]
