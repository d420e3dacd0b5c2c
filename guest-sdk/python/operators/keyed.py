"""Counts the records of each key, and emits every new count."""

from dataclasses import dataclass

from cofferdam import Group, KeyedOperator, Out, operator


@dataclass
class Count:
    count: int = 0


@operator
class Keyed(KeyedOperator[Count]):
    def fold(self, group: Group[Count], out: Out) -> None:
        key = group.key_text  # One that is not UTF-8 has its records rejected.
        state = group.state_or(Count())
        for record in group:
            state.count += 1
            out.emit_json({"key": key, "count": state.count}, of=record)
