"""Fails as it is told to: for the conformance suite."""

from cofferdam import OperatorError, Out, Processor, Record, operator


@operator
class Failing(Processor):
    def process_record(self, record: Record, out: Out) -> None:
        if record.value == b"panic":
            raise RuntimeError("boom: told to panic")
        if record.value == b"error":
            raise OperatorError("told to fail")
        out.keep(record)
