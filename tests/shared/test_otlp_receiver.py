"""The OTLP receiver of the live tests keeps what the real exporter sends."""

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import Link, SpanKind

from tests.servers.otlp import otlp_receiver


def test_spans_arrive_with_parents_links_and_attributes() -> None:
    with otlp_receiver() as receiver:
        provider = TracerProvider(resource=Resource({"service.name": "intake"}))
        provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(f"{receiver.endpoint}/v1/traces")))
        tracer = provider.get_tracer("t")
        with tracer.start_as_current_span("batch") as batch:
            batch_context = batch.get_span_context()
        with (
            tracer.start_as_current_span("root", attributes={"job.id": "j1"}),
            tracer.start_as_current_span(
                "child", kind=SpanKind.CONSUMER, links=[Link(batch_context)], attributes={"sizes": [1, 2]}
            ),
        ):
            pass
        receiver.wait(lambda: len(receiver.spans()) == 3)
        provider.shutdown()

        (child,) = receiver.spans(name="child", kind="consumer")
        assert [span.name for span in receiver.ancestry(child)] == ["child", "root"]
        assert receiver.spans(job__id="j1", service="intake")[0].parent_id == ""
        assert child.links[0].span_id == receiver.spans(name="batch")[0].span_id
        assert child.attributes == {"sizes": [1, 2]}
