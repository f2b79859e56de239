"""Logs, spans and metrics: one JSON line per event, one span per stage and event, and only where the trace is sampled.

An unsampled event costs no span: the flag in its `traceparent` is read first.
"""

import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import Any

import structlog
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanContext, SpanKind, TraceFlags, Tracer
from prometheus_client import Counter, Gauge, Histogram

EVENTS_HANDLED = Counter("calotype_events_handled", "Records a consumer group finished", ["group", "topic"])
EVENTS_DEAD = Counter("calotype_events_dead_lettered", "Records set aside", ["group", "topic", "reason"])
EVENTS_SECONDS = Histogram("calotype_batch_seconds", "One batch from fetch to done, seconds", ["group"])
CONSUMER_STOPPED = Gauge("calotype_consumer_stopped", "1 while a consumer waits to be told to resume", ["group"])
WORK_CLAIMED = Counter("calotype_work_claimed", "Leases taken", ["stage", "kind"])
WORK_SETTLED = Counter("calotype_work_settled", "Leases settled", ["stage", "kind", "outcome"])
PARTITIONS_DROPPED = Counter("calotype_partitions_dropped", "Weeks of finished history dropped", ["stage", "table"])
PARTITIONS_KEPT = Gauge(
    "calotype_partitions_kept", "Weeks past their time that unfinished work holds back", ["stage", "table"]
)
WORK_LOST = Counter("calotype_work_lost", "Leases that were lost to another worker", ["stage", "kind"])
# Read from the tables when somebody asks (gauges.py); docs/runbook.md says what to do about each.
OUTBOX_ROWS = Gauge("calotype_outbox_rows", "Events committed and not yet acknowledged by Kafka", ["stage"])
OUTBOX_OLDEST = Gauge("calotype_outbox_oldest_seconds", "Age of the oldest of them", ["stage"])
OUTBOX_REFUSED = Gauge("calotype_outbox_refused_rows", "Events the broker refused, set aside for a person", ["stage"])
QUEUE_WORK = Gauge(
    "calotype_queue_work", "Work by state: running, lost, waiting, delayed, held", ["stage", "lane", "kind", "state"]
)
QUEUE_OLDEST = Gauge("calotype_queue_oldest_seconds", "Age of what waits longest", ["stage", "lane", "kind"])
BRAKES = Gauge("calotype_brakes", "Brakes in force", ["stage", "kind", "mode"])
DEAD_LETTERS = Gauge("calotype_dead_letters_open", "Refused records nobody has replayed or dropped", ["group", "topic"])
UNCERTAIN_ATTEMPTS = Gauge("calotype_uncertain_attempts", "Calls that may have been billed, not settled", ["backend"])
DEVICE_SECONDS = Counter(
    "calotype_device_seconds", "Seconds by what they went into: busy, idle, loading", ["device", "model", "state"]
)
IN_TROUBLE = Gauge("calotype_publications_in_trouble", "Publications by state: failed, uncertain", ["target", "state"])


def configure_logs(*, service: str, level: str = "info") -> None:
    """JSON lines on standard output, bytes all the way (facts: 12 µs a line; through stdlib logging 69)."""
    import orjson  # noqa: PLC0415  # only the process's entry pays

    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            name_event,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _service(service),
            structlog.processors.JSONRenderer(serializer=lambda value, **_: orjson.dumps(value, default=str)),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.BytesLoggerFactory(),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s %(message)s")


# The event a handler is at work on; its ids are read only when a line is written, so an event costs nothing here.
CURRENT_EVENT: ContextVar[Any] = ContextVar("current_event", default=None)
EVENT_IDS = ("event_id", "workspace", "request_id", "job_id")


def name_event(_logger: Any, _method: str, line: Any) -> Any:
    """Adds the ids of the event that is being handled to a log line."""
    event = CURRENT_EVENT.get()
    for field in EVENT_IDS:
        value = getattr(event, field, None)
        if value is not None:
            line.setdefault(field, str(value))
    return line


def _service(name: str) -> Any:
    def add(_logger: Any, _method: str, event: Any) -> Any:
        event["service"] = name
        return event

    return add


def configure_traces(*, service: str, sample: float, endpoint: str | None) -> TracerProvider:
    """Parent-based sampling; spans leave over OTLP/HTTP when an endpoint is set."""
    provider = TracerProvider(
        sampler=ParentBasedTraceIdRatio(sample), resource=Resource.create({"service.name": f"calotype-{service}"})
    )
    if endpoint:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415  # 20 MB

        exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces")
        provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=1000))
    trace.set_tracer_provider(provider)
    return provider


@lru_cache(maxsize=1)  # asking the SDK each time costs more than the span; before there is a provider it is a proxy
def tracer() -> Tracer:
    return trace.get_tracer("calotype")


def is_sampled(traceparent: str | None) -> bool:
    return traceparent is not None and traceparent[-2:] in {"01", "03"}


def context_of(traceparent: str | None) -> SpanContext | None:
    """The W3C trace context, or None where it is absent or malformed (then a new trace begins)."""
    if not traceparent or len(traceparent) != len("00-") + 32 + 1 + 16 + 3:
        return None
    try:
        context = SpanContext(
            trace_id=int(traceparent[3:35], 16),
            span_id=int(traceparent[36:52], 16),
            is_remote=True,
            trace_flags=TraceFlags(int(traceparent[53:55], 16)),
        )
    except ValueError:
        return None
    return context if context.is_valid else None


def traceparent_of(span: Span) -> str:
    context = span.get_span_context()
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def start_span(
    name: str,
    *,
    parent: str | None,
    kind: SpanKind = SpanKind.INTERNAL,
    link: SpanContext | None = None,
    attributes: Mapping[str, Any] | None = None,
    started_ns: int | None = None,
) -> Span:
    """A span under `parent`; without a valid parent it roots a trace of its own. `started_ns`: when it began."""
    context = context_of(parent)
    return tracer().start_span(
        name,
        context=trace.set_span_in_context(NonRecordingSpan(context) if context else trace.INVALID_SPAN),
        kind=kind,
        links=[Link(link)] if link else None,
        attributes=dict(attributes or {}),
        start_time=started_ns,
    )


def ended_span(
    name: str,
    *,
    parent: str | None,
    attributes: Mapping[str, Any],
    kind: SpanKind = SpanKind.INTERNAL,
    link: SpanContext | None = None,
    started_ns: int | None = None,
) -> str | None:
    """One span for work that is over: none stays open over a lease. What the work causes hangs below what comes back.

    Where the parent is not sampled there is no span, and it comes back itself.
    """
    if not is_sampled(parent):
        return parent
    span = start_span(name, parent=parent, kind=kind, link=link, attributes=attributes, started_ns=started_ns)
    span.end()
    return traceparent_of(span)


def new_traceparent() -> str:
    """A root for a request that brought no trace of its own; the sampler decides its flag."""
    span = start_span("request", parent=None)
    span.end()
    return traceparent_of(span)


@contextmanager
def log_context(**ids: object) -> Iterator[None]:
    """Binds ids to every log line inside; None is left out."""
    with structlog.contextvars.bound_contextvars(**{k: str(v) for k, v in ids.items() if v is not None}):
        yield
