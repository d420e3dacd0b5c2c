"""Fails as it is told to: for the conformance suite."""

from datetime import datetime

from cofferdam import OperatorError, Out, Processor, Record, operator


@operator
class Failing(Processor):
    def process_record(self, record: Record, out: Out) -> None:
        if record.value == b"panic":
            raise RuntimeError("boom: told to panic")
        if record.value == b"error":
            raise OperatorError("told to fail")
        if record.value == b"trap":
            # There is no clock in a component, and what stands for it traps.
            datetime.now()
        out.keep(record)
