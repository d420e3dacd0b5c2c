"""Counts the records of each key and window, and emits the count when the window
ends. Which windows there are is said in the job file."""

from dataclasses import dataclass

from cofferdam import Firing, Group, KeyedOperator, Out, operator


@dataclass
class Count:
    count: int = 0


@operator
class Window(KeyedOperator[Count]):
    def fold(self, group: Group[Count], out: Out) -> None:
        _ = group.key_text  # One that is not UTF-8 has its records rejected, here and not later.
        group.state_or(Count()).count += len(group)

    def fire(self, group: Group[Count], firing: Firing, out: Out) -> None:
        if group.window and group.state:
            out.emit_json(
                {
                    "key": group.key_text,
                    "window_start": group.window.start,
                    "window_end": group.window.end,
                    "count": group.state.count,
                },
                of=firing,
            )
