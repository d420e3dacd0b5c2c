# Writes request.bin and response.bin with OpenTelemetry's own messages: what `encode.rs` must write,
# and what it must read. Needs the package `opentelemetry-proto`; run it in this directory.
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as service
from opentelemetry.proto.common.v1 import common_pb2 as common
from opentelemetry.proto.trace.v1 import trace_pb2 as trace

START = 1_795_000_000_000_000_000
STATE = "rojo=1,congo=t61"


def attribute(key, **value):
    return common.KeyValue(key=key, value=common.AnyValue(**value))


def identifiers(trace_byte, span_byte):
    return dict(trace_id=bytes([trace_byte] * 16), span_id=bytes([span_byte] * 8))


request = service.ExportTraceServiceRequest()
told = request.resource_spans.add()
told.resource.attributes.extend([
    attribute("service.name", string_value="s"),
    attribute("service.version", string_value="1"),
])
scope = told.scope_spans.add()
scope.scope.name = "cofferdam"
scope.scope.version = "0.1.0"
scope.spans.add(
    **identifiers(1, 2),
    name="read flights",
    kind=trace.Span.SPAN_KIND_INTERNAL,
    start_time_unix_nano=START,
    end_time_unix_nano=START + 5,
    attributes=[
        attribute("cofferdam.tenant", string_value="acme"),
        attribute("n", int_value=300),
        attribute("none", int_value=0),
        attribute("yes", bool_value=True),
        attribute("no", bool_value=False),
    ],
    flags=0x101,
)
failed = dict(
    **identifiers(1, 3),
    parent_span_id=bytes([2] * 8),
    name="GET /\u00e9",
    start_time_unix_nano=START + 1,
    end_time_unix_nano=START + 9,
    status=trace.Status(message="why", code=trace.Status.STATUS_CODE_ERROR),
)
links = [
    trace.Span.Link(**identifiers(4, 5), flags=0x101),
    trace.Span.Link(**identifiers(6, 7), trace_state=STATE, flags=0x101),
]
scope.spans.add(kind=trace.Span.SPAN_KIND_SERVER, links=links, trace_state=STATE, flags=0x301, **failed)
scope.spans.add(kind=trace.Span.SPAN_KIND_INTERNAL, flags=0x101, **failed)

with open("request.bin", "wb") as out:
    out.write(request.SerializeToString(deterministic=True))

response = service.ExportTraceServiceResponse()
response.partial_success.rejected_spans = 7
response.partial_success.error_message = "too many attributes"
with open("response.bin", "wb") as out:
    out.write(response.SerializeToString(deterministic=True))
