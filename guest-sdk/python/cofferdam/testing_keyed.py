"""The host of a keyed operator in tests: groups, states, timers, windows. Use it by
`cofferdam.testing`.

The real host has its own code for all this; here are the same rules, in as few lines.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Dict, Iterable, List, Mapping, Optional, Tuple

from . import fold
from .columns import Batch, Column
from .context import Context
from .keyed import Now, Window
from .outcome import Out
from .testing import Answer, Given, HarnessBase, batch_of, resolve

__all__ = ["KeyedHarness", "sessions", "sliding", "tumbling"]

END = 2**63 - 1
#: What has a state: a key, or a key and a window.
Id = Tuple[bytes, Optional[Window]]
#: (time, kind, id): what is due.
Due = Tuple[int, str, Id]


@dataclass(frozen=True)
class Windows:
    """How records are assigned to windows; lengths in milliseconds."""

    size: int
    slide: int = 0
    #: When they begin, counted from 1970.
    offset: int = 0
    #: More than 0: session windows.
    gap: int = 0

    def of(self, time: int) -> List[Window]:
        """The windows of a record of this time; a session's may be merged yet."""
        if self.gap:
            return [Window(time, time + self.gap)]
        last = time - (time - self.offset) % self.slide
        return [
            Window(start, start + self.size)
            for start in range(last, time - self.size, -self.slide)
        ]


def tumbling(size: int, offset: int = 0) -> Windows:
    """Windows side by side."""
    return Windows(size, size, offset)


def sliding(size: int, slide: int, offset: int = 0) -> Windows:
    """Windows of a size, one every ``slide``."""
    return Windows(size, slide, offset)


def sessions(gap: int) -> Windows:
    """Windows that end when nothing came for ``gap``."""
    return Windows(0, gap=gap)


class KeyedHarness(HarnessBase):
    """The host of a :class:`~cofferdam.KeyedOperator`, with windows or without."""

    def __init__(
        self, operator: Any, config: Optional[Mapping[str, Any]] = None,
        window: Optional[Windows] = None, allowed_lateness: int = 0,
        context: Optional[Context] = None,
    ) -> None:
        super().__init__(operator, config, context)
        self._assigner = window
        self._lateness = allowed_lateness
        self._now = Now(None, 0)
        self._states: Dict[Id, bytes] = {}
        # Windows that have records, and whether they have fired.
        self._windows: Dict[Id, bool] = {}
        self._timers: Dict[Due, None] = {}

    def send(self, records: Iterable[Given], input: int = 0) -> Answer:
        """Sends one batch of (key, value, timestamp)."""
        batch = batch_of(records, input)
        rows: Dict[Id, List[int]] = {}
        late = []
        for record in batch:
            taken = False
            windows: List[Optional[Window]] = [None]
            if self._assigner:
                windows = list(self._assigner.of(record.timestamp or 0))
            for window in windows:
                id = (record.key, window)
                if self._assigner and self._assigner.gap and window:
                    id = self._join(record.key, window, rows)
                if id[1] is None or not self._is_over(id[1]):
                    taken = True
                    rows.setdefault(id, []).append(record.index)
            if not taken:
                late.append(record.value)
        answer = self._fold(batch, rows)
        answer.late = late
        again = [(w.end - 1, "window", (key, w)) for key, w in rows if w and self._passed(w.end - 1)]
        self._windows.update((id, True) for _, _, id in again)
        answer.append(self._fire(sorted(again, key=_order)))
        return answer

    def advance_watermark(self, to: int) -> Answer:
        """Moves event time on: fires the windows and timers that are due by then, and
        forgets windows for which nothing can come any more."""
        now = self._now.watermark
        self._now = Now(to if now is None else max(now, to), self._now.processing)
        answer = self._fire_due()
        for id in [id for id in self._windows if id[1] and self._is_over(id[1])]:
            del self._windows[id]
            self._states.pop(id, None)
            self._timers = {due: None for due in self._timers if due[2] != id}
        return answer

    def advance_time(self, to: int) -> Answer:
        """Moves the host's clock on: fires the processing-time timers that are due."""
        self._now = Now(self._now.watermark, max(self._now.processing, to))
        return self._fire_due()

    def end(self) -> Answer:
        """Ends the input: event time passes everything."""
        return self.advance_watermark(END)

    def state(self, key: str, window: Optional[Window] = None) -> Any:
        """The state of a key (and window); None if there is none."""
        data = self._states.get((key.encode(), window), b"")
        return self.operator.state_codec().decode(data) if data else None

    @property
    def states(self) -> int:
        """How many states the host holds."""
        return len(self._states)

    @property
    def timers(self) -> List[Tuple[str, str, int]]:
        """The timers that are set, in order of time: (key, kind, time)."""
        return [(id[0].decode(), kind, at) for at, kind, id in sorted(self._timers, key=_order)]

    def _passed(self, at: int) -> bool:
        return self._now.watermark is not None and self._now.watermark >= at

    def _is_over(self, window: Window) -> bool:
        return self._passed(window.end - 1 + self._lateness)

    def _join(self, key: bytes, window: Window, rows: Dict[Id, List[int]]) -> Id:
        """Makes one of a new session and those that it meets."""
        met: List[Window] = []
        while True:
            known = [w for k, w in [*self._windows, *rows] if k == key and w and w not in met]
            other = next((w for w in known if w.start <= window.end and window.start <= w.end), None)
            if other is None:
                break
            window = Window(min(window.start, other.start), max(window.end, other.end))
            met.append(other)
        id, state, indexes = (key, window), b"", []
        for old in sorted(met):
            state = self._merge(key, state, self._states.pop((key, old), b""))
            self._windows.pop((key, old), None)
            self._timers = {
                (at, kind, id if owner == (key, old) else owner): None
                for at, kind, owner in self._timers
            }
            indexes += rows.pop((key, old), [])
        if state:
            self._states[id] = state
        if indexes:
            rows[id] = sorted(indexes)
        if not self._is_over(window):
            self._windows[id] = False
        return id

    def _merge(self, key: bytes, left: bytes, right: bytes) -> bytes:
        if not left or not right:
            return left or right
        columns = [Column.of([entry]) for entry in (key, left, right)]
        return self._recorder.recording(lambda: fold.merge(self.operator, *columns))[0]

    def _groups(self, rows: Mapping[Id, List[int]]) -> Any:
        offsets = [0]
        for of_group in rows.values():
            offsets.append(offsets[-1] + len(of_group))
        windows = [w for _, w in rows if w]
        return SimpleNamespace(
            keys=Column.of(key for key, _ in rows),
            states=Column.of(self._states.get(id, b"") for id in rows),
            window_starts=[w.start for w in windows],
            window_ends=[w.end for w in windows],
            rows=[row for of_group in rows.values() for row in of_group],
            row_offsets=offsets,
        )

    def _fold(self, batch: Batch, rows: Dict[Id, List[int]]) -> Answer:
        for id in rows:
            if id[1]:
                self._windows.setdefault(id, False)
        out, groups = Out(len(batch)), self._groups(rows)
        effects = self._recorder.recording(
            lambda: fold.fold(self.operator, self._now, batch, groups, out)
        )
        return self._apply(list(rows), batch, out, effects)

    def _fire_due(self) -> Answer:
        answer = Answer()
        while True:  # What fires may set timers that are due at once.
            due = [
                (id[1].end - 1, "window", id)
                for id, fired in self._windows.items()
                if id[1] and not fired and self._passed(id[1].end - 1)
            ]
            self._windows.update((id, True) for _, _, id in due)
            for timer in list(self._timers):
                at, kind, _ = timer
                if self._passed(at) if kind == "event" else at <= self._now.processing:
                    del self._timers[timer]
                    due.append(timer)
            if not due:
                return answer
            answer.append(self._fire(sorted(due, key=_order)))

    def _fire(self, due: List[Due]) -> Answer:
        if not due:
            return Answer()
        rows: Dict[Id, List[int]] = {}
        for index, (_, _, id) in enumerate(due):
            rows.setdefault(id, []).append(index)
        kinds, times = [kind for _, kind, _ in due], [at for at, _, _ in due]
        out, groups = Out(len(due)), self._groups(rows)
        effects = self._recorder.recording(
            lambda: fold.fire(self.operator, self._now, kinds, times, groups, out)
        )
        keys = Column.of(id[0] for _, _, id in due)
        origins = Batch(len(due), keys, Column(b"", []), times)
        return self._apply(list(rows), origins, out, effects)

    def _apply(self, ids: List[Id], origins: Batch, out: Out, effects: fold.Call) -> Answer:
        answer = resolve(out, origins)
        for group, state in zip(effects.changed, effects.new):
            if state:
                self._states[ids[group]] = state
            else:
                self._states.pop(ids[group], None)
        for (group, kind, at), is_set in effects.timers.items():
            if is_set:
                self._timers[(at, kind, ids[group])] = None
            else:
                self._timers.pop((at, kind, ids[group]), None)
        return answer


def _order(due: Due) -> Tuple[int, str, bytes, Tuple[int, int]]:
    at, kind, (key, window) = due
    # Timers and windows of one time: by kind, as the host orders them.
    rank = {"window": "0", "event": "1", "processing": "2"}[kind]
    return at, rank, key, (window.start, window.end) if window else (0, 0)
