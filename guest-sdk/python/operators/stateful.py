"""Keeps a running total of the values' lengths in its own memory, and saves it."""

from cofferdam import Out, Processor, Record, operator


@operator
class Stateful(Processor):
    def __init__(self) -> None:
        self.total = 0

    def process_record(self, record: Record, out: Out) -> None:
        self.total += len(record.value)
        out.emit(str(self.total), of=record)

    def snapshot(self) -> bytes:
        return str(self.total).encode()

    def restore(self, state: bytes) -> None:
        self.total = int(state)
