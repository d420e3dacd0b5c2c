"""Splits each value at spaces: a record for every word, keyed by it in lower case."""

from cofferdam import Out, Processor, Record, operator


@operator
class FlatMap(Processor):
    def process_record(self, record: Record, out: Out) -> None:
        for word in record.value.split(b" "):
            if word:
                out.emit(word, of=record, key=word.lower())
