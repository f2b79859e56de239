"""A real OTLP/HTTP receiver: keeps every span it is sent, so that a test can walk a trace parent by parent."""

import gzip
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    trace_id: str
    span_id: str
    attributes: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    service: str
    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str  # empty at a root
    attributes: dict[str, Any]
    links: tuple[Link, ...]
    status: str
    started: int  # nanoseconds since 1970
    ended: int


@dataclass(slots=True)
class Receiver:
    """`endpoint` is what OTEL_EXPORTER_OTLP_ENDPOINT takes."""

    endpoint: str = ""
    note: Callable[[Span], None] = lambda _: None  # hears every span as it comes, one at a time
    _spans: dict[tuple[str, str], Span] = field(default_factory=dict)
    _news: threading.Condition = field(default_factory=threading.Condition)

    def spans(self, **wanted: Any) -> list[Span]:
        """The spans whose fields or attributes (dots written as `__`) equal `wanted`, oldest first."""
        with self._news:
            found = [span for span in self._spans.values() if _fits(span, wanted)]
        return sorted(found, key=lambda span: span.started)

    def get(self, trace_id: str, span_id: str) -> Span | None:
        with self._news:
            return self._spans.get((trace_id, span_id))

    def ancestry(self, span: Span) -> list[Span]:
        """The span, its parent, and so on up to the last one that was received."""
        line = [span]
        while (parent := self.get(span.trace_id, line[-1].parent_id)) is not None and parent not in line:
            line.append(parent)
        return line

    def wait(self, condition: Callable[[], bool], *, seconds: float = 60) -> None:
        """Until `condition` holds; looked at again whenever spans arrive."""
        deadline = time.monotonic() + seconds
        while not condition():
            with self._news:
                if not self._news.wait(timeout=deadline - time.monotonic()) and time.monotonic() >= deadline:
                    names = sorted({f"{span.service}: {span.name}" for span in self._spans.values()})
                    raise TimeoutError(f"not so after {seconds} s; received {len(self._spans)} spans: {names}")

    def keep(self, request: ExportTraceServiceRequest) -> None:
        with self._news:
            for span in _spans(request):
                self._spans[span.trace_id, span.span_id] = span
                self.note(span)
            self._news.notify_all()


@contextmanager
def otlp_receiver(note: Callable[[Span], None] = lambda _: None) -> Iterator[Receiver]:
    receiver = Receiver(note=note)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            if self.path == "/v1/traces":
                receiver.keep(ExportTraceServiceRequest.FromString(body))
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_response(200 if self.path == "/v1/traces" else 404)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            with suppress(ConnectionError):  # of a service that was killed meanwhile
                self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    receiver.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _spans(request: ExportTraceServiceRequest) -> Iterator[Span]:
    for resource in request.resource_spans:
        service = str(_attributes(resource.resource.attributes).get("service.name", ""))
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield Span(
                    service=service,
                    name=span.name,
                    kind=span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower(),
                    trace_id=span.trace_id.hex(),
                    span_id=span.span_id.hex(),
                    parent_id=span.parent_span_id.hex(),
                    attributes=_attributes(span.attributes),
                    links=tuple(
                        Link(
                            trace_id=link.trace_id.hex(),
                            span_id=link.span_id.hex(),
                            attributes=_attributes(link.attributes),
                        )
                        for link in span.links
                    ),
                    status=span.status.StatusCode.Name(span.status.code).removeprefix("STATUS_CODE_").lower(),
                    started=span.start_time_unix_nano,
                    ended=span.end_time_unix_nano,
                )


def _fits(span: Span, wanted: dict[str, Any]) -> bool:
    for name, value in wanted.items():
        found = getattr(span, name) if hasattr(span, name) else span.attributes.get(name.replace("__", "."))
        if found != value:
            return False
    return True


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: _value(pair) for pair in pairs}


def _value(pair: KeyValue) -> Any:
    value: AnyValue = pair.value
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    if kind == "array_value":
        return [_value(KeyValue(value=item)) for item in value.array_value.values]
    return getattr(value, kind)
