"""I10: one trace for each request, on all its events and spans; and no job is both cancelled and approved."""

from collections import defaultdict
from collections.abc import Iterator
from functools import partial

from tests.faults.oracle.evidence import Evidence, Row, Violation
from tests.faults.oracle.invariants.ends import promised
from tests.faults.oracle.reading import trace_of

Broken = partial(Violation, invariant="I10")
# An ask that brings no trace begins one whenever it is read; read twice, it is accepted on one of them.
ASKED = "image-requests.v1"


def check(evidence: Evidence) -> Iterator[Violation]:
    traces: dict[str, dict[str | None, str]] = defaultdict(dict)
    for event in evidence.events.values():
        if event.request in evidence.requests:
            traces[event.request or ""].setdefault(event.trace, event.type)
    for request, found in traces.items():
        if len(found) > 1:
            told = {name: trace for trace, name in found.items()}
            yield Broken(subject=request, what=f"has {len(found)} traces", evidence=told)
    yield from _given(evidence, traces)
    yield from _kinds(evidence)
    yield from _spans(evidence, traces)
    for (job, run), ends in evidence.ends.items():
        if {"JobCancelled", "AssetApproved"} <= {event.type for event in ends}:
            yield Broken(subject=job, what=f"run {run} is both cancelled and approved", kind="doubled")


def _given(evidence: Evidence, traces: dict[str, dict[str | None, str]]) -> Iterator[Violation]:
    """The caller's trace goes on; without one each request has its own."""
    shared: dict[str | None, list[str]] = defaultdict(list)
    callers: dict[str, str | None] = {}
    for line in evidence.accepted:
        if line.get("expects") is not None:
            callers[promised(line)] = trace_of(line.get("traceparent"))
    for request, found in traces.items():
        given = callers.get(request)
        if given is not None and given not in found:
            yield Broken(subject=request, what="is not on its caller's trace", evidence=given)
        for trace in found:
            shared[trace].append(request)
    for trace, requests in shared.items():
        own = [request for request in requests if callers.get(request) != trace]
        if trace is not None and len(requests) > 1 and own:
            yield Broken(subject=trace, what=f"is the trace of {len(requests)} requests", evidence=requests[:3])


def _kinds(evidence: Evidence) -> Iterator[Violation]:
    """Of a world in which somebody decided, spans of every kind have come: of processes, of work, of decisions."""
    named = {span["name"] for span in evidence.spans}
    came = {
        "a process": any(name.endswith(" process") for name in named),
        "work": any("calotype.job" in span.get("attributes", {}) for span in evidence.spans),
        "a decision": "asset decide" in named,
    }
    for kind, has_come in came.items():
        if evidence.is_traced and not has_come and evidence.table("catalog.decisions"):
            yield Broken(subject=kind, what="not one span of it has come", kind="lost")


def _spans(evidence: Evidence, traces: dict[str, dict[str | None, str]]) -> Iterator[Violation]:
    jobs = {row["job_id"]: row["request_id"] for row in evidence.table("catalog.jobs")}
    assets = {row["asset_id"]: row["job_id"] for row in evidence.table("catalog.assets")}
    known = {event.trace for event in evidence.events.values()}
    for span in evidence.spans:
        said = span.get("attributes", {})
        job = said.get("calotype.job") or assets.get(said.get("calotype.asset", ""))
        request = said.get("calotype.request") or jobs.get(job or "")
        if request in traces:
            if span["trace_id"] not in traces[request]:
                yield Broken(
                    subject=request, what=f"the span {span['name']!r} is on another trace", evidence=_short(span)
                )
        elif "calotype.event" in said and not span["name"].startswith(ASKED) and span["trace_id"] not in known:
            yield Broken(
                subject=span["trace_id"], what=f"the span {span['name']!r} is on nobody's trace", evidence=_short(span)
            )


def _short(span: Row) -> dict[str, object]:
    return {name: span.get(name) for name in ("trace_id", "span_id", "attributes")}
