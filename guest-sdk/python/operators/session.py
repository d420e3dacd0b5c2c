"""Adds up the numbers of each key's sessions, and emits the sum when one has ended."""

import re
from dataclasses import dataclass

from cofferdam import Firing, Group, KeyedOperator, Out, Record, Reject, operator

NUMBER = re.compile(rb"[+-]?[0-9]+")


@dataclass
class Total:
    sum: int = 0
    count: int = 0


@operator
class Session(KeyedOperator[Total]):
    def fold_record(self, group: Group[Total], record: Record, out: Out) -> None:
        _ = group.key_text  # One that is not UTF-8 has its records rejected.
        if not NUMBER.fullmatch(record.value):
            raise Reject("not a number")
        state = group.state_or(Total())
        state.sum += int(record.value)
        state.count += 1

    def merge(self, key: bytes, earlier: Total, later: Total) -> Total:
        return Total(earlier.sum + later.sum, earlier.count + later.count)

    def fire(self, group: Group[Total], firing: Firing, out: Out) -> None:
        state = group.state
        if state:
            out.emit_json(
                {"key": group.key_text, "sum": state.sum, "count": state.count}, of=firing
            )
