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
        group.state_or(Count()).count += len(group)

    def fire(self, group: Group[Count], firing: Firing, out: Out) -> None:
        window = group.window
        assert window is not None, "the job gives this operator windows"
        out.emit_json(
            {
                "key": group.key_text,
                "window_start": window.start,
                "window_end": window.end,
                "count": group.state_or(Count()).count,
            },
            of=firing,
        )
