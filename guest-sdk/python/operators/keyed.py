"""Counts the records of each key, and emits every new count."""

from dataclasses import dataclass

from cofferdam import Group, KeyedOperator, Out, operator


@dataclass
class Count:
    count: int = 0


@operator
class Keyed(KeyedOperator[Count]):
    def fold(self, group: Group[Count], out: Out) -> None:
        try:
            key = group.key_text
        except UnicodeDecodeError:
            for record in group:
                out.reject(record, "the key is not UTF-8")
            return
        state = group.state_or(Count())
        for record in group:
            state.count += 1
            out.emit_json({"key": key, "count": state.count}, of=record)
