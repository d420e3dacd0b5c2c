# What schemathesis does not know of by itself: how bodies of these kinds are written. Every other
# body is one that means something, so that what comes after the reading of it is tried, too.
import os

import schemathesis
from schemathesis.transport.asgi import ASGI_TRANSPORT
from schemathesis.transport.requests import REQUESTS_TRANSPORT
from schemathesis.transport.wsgi import WSGI_TRANSPORT

GIVEN = os.environ["COFFERDAM_CONTRACT"]
BODIES = {"application/toml": "job.toml", "application/wasm": "component.wasm", "application/x-ndjson": "lines.jsonl"}


def body_of(kind):
    with open(os.path.join(GIVEN, BODIES[kind]), "rb") as file:
        given = file.read()

    def serialize(ctx, value):
        made = value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")
        return {"data": given if len(made) % 2 == 0 else made}

    return serialize


for kind in BODIES:
    for transport in (ASGI_TRANSPORT, REQUESTS_TRANSPORT, WSGI_TRANSPORT):
        transport.serializer(kind)(body_of(kind))


@schemathesis.deserializer("application/octet-stream")
def as_it_is(ctx, response):
    return response.content.decode("latin-1")
