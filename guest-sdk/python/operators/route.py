"""Sends records to ports by what they look like: JSON objects to 0, others to 1."""

from cofferdam import Out, Processor, Record, Reject, operator


@operator
class Route(Processor):
    def process_record(self, record: Record, out: Out) -> None:
        if not record.value:
            raise Reject("the value is empty")
        out.keep(record, port=0 if record.value.startswith(b"{") else 1)
