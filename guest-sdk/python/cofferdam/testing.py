"""Runs an operator in plain Python, for tests: no Wasm, no server, no clock but the
one that you move.

::

    from cofferdam.testing import ProcessorHarness

    def test_keeps_errors():
        harness = ProcessorHarness(Filter, config={"contains": "error"})
        answer = harness.send(["an error", "all well"])
        assert answer.texts() == ["an error"]

A harness holds an operator to what the real host does: it groups by key and window,
keeps states in their encoded form, and refuses answers that the host would refuse.
The host of keyed operators is in `testing_keyed.py`.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple, TypeVar, Union

from . import jsons, platform
from .columns import Batch, Column
from .context import Context
from .errors import OperatorError
from .outcome import FRESH, SAME, Chunk, Out
from .processor import operator_class

__all__ = [
    "Answer", "KeyedHarness", "Output", "ProcessorHarness", "Rejected", "sessions", "sliding", "tumbling",
]

T = TypeVar("T")
#: A value (text, bytes, or what becomes JSON), or (key, value), or (key, value, time).
Given = Any


@dataclass(frozen=True)
class Output:
    """An emitted record."""

    key: bytes
    value: bytes
    #: Milliseconds since 1970, if there is any.
    timestamp: Optional[int]

    @property
    def text(self) -> str:
        """The value as text."""
        return self.value.decode()

    def json(self) -> Any:
        """The value, read as JSON."""
        return jsons.loads(self.value)


@dataclass(frozen=True)
class Rejected:
    """A record that the operator refused."""

    value: bytes
    reason: str


@dataclass
class Answer:
    """What came back from one or more calls."""

    #: Emitted records by port, in order.
    outputs: Dict[int, List[Output]] = field(default_factory=dict)
    #: Refused records, in order.
    rejected: List[Rejected] = field(default_factory=list)
    #: Values of records that came too late for their windows, and never reached the operator.
    late: List[bytes] = field(default_factory=list)

    def records(self, port: int = 0) -> List[Output]:
        """What was emitted to a port."""
        return self.outputs.get(port, [])

    def texts(self, port: int = 0) -> List[str]:
        """The values that were emitted to a port, as text."""
        return [record.text for record in self.records(port)]

    def keys(self, port: int = 0) -> List[str]:
        """The keys of what was emitted to a port, as text."""
        return [record.key.decode() for record in self.records(port)]

    def json(self, port: int = 0) -> List[Any]:
        """The values that were emitted to a port, read as JSON."""
        return [record.json() for record in self.records(port)]

    def reasons(self) -> List[str]:
        """Why records were refused."""
        return [rejected.reason for rejected in self.rejected]

    def append(self, later: "Answer") -> None:
        """Adds what another answer holds, after what is here."""
        for port, records in later.outputs.items():
            self.outputs.setdefault(port, []).extend(records)
        self.rejected.extend(later.rejected)
        self.late.extend(later.late)


class Recorder:
    """A host's log and metrics, kept."""

    def __init__(self) -> None:
        self.logs: List[Tuple[int, str]] = []
        self.counters: Dict[str, int] = {}
        self.gauges: Dict[str, float] = {}
        self.histograms: Dict[str, List[float]] = {}
        self._handler = platform.LogHandler()

    def log(self, level: int, message: str) -> None:
        self.logs.append((level, message))

    def counter_add(self, name: str, delta: int) -> None:
        self.counters[name] = self.counters.get(name, 0) + delta

    def gauge_set(self, name: str, value: float) -> None:
        self.gauges[name] = value

    def histogram_record(self, name: str, value: float) -> None:
        self.histograms.setdefault(name, []).append(value)

    def recording(self, call: Callable[[], T]) -> T:
        """Calls with all that is logged and measured going here."""
        root = logging.getLogger()
        level, before = root.level, platform.use(self)
        root.addHandler(self._handler)
        root.setLevel(platform.TRACE)
        try:
            return call()
        finally:
            root.removeHandler(self._handler)
            root.setLevel(level)
            platform.use(before)


class HarnessBase:
    """What harnesses have in common: an operator that is open, and its host's books."""

    def __init__(self, operator: Any, config: Optional[Mapping[str, Any]], context: Optional[Context]) -> None:
        self._recorder = Recorder()
        self._context = context or Context.for_test(config)
        self.operator = operator_class(operator)()
        self._recorder.recording(lambda: self.operator.open(self._context))

    @property
    def logs(self) -> List[Tuple[str, str]]:
        """The lines that were logged so far: (level, message)."""
        return [(logging.getLevelName(level).lower(), line) for level, line in self._recorder.logs]

    @property
    def counters(self) -> Dict[str, int]:
        """Counters, by name."""
        return self._recorder.counters

    @property
    def gauges(self) -> Dict[str, float]:
        """Gauges, by name."""
        return self._recorder.gauges

    @property
    def histograms(self) -> Dict[str, List[float]]:
        """The observations of histograms, by name."""
        return self._recorder.histograms


class ProcessorHarness(HarnessBase):
    """The host of a :class:`~cofferdam.Processor`, or of a function."""

    def __init__(
        self, operator: Any, config: Optional[Mapping[str, Any]] = None,
        context: Optional[Context] = None,
    ) -> None:
        self._class = operator
        super().__init__(operator, config, context)

    def send(self, records: Iterable[Given], input: int = 0) -> Answer:
        """Sends one batch: values, or (key, value), or (key, value, timestamp)."""
        batch = batch_of(records, input)
        out = Out(len(batch))
        self._recorder.recording(lambda: self.operator.process(batch, out))
        return resolve(out, batch)

    def finish(self) -> Answer:
        """Ends the input."""
        out = Out(0)
        self._recorder.recording(lambda: self.operator.finish(out))
        return resolve(out, batch_of([], 0))

    def snapshot(self) -> bytes:
        """The operator's snapshot."""
        return bytes(self._recorder.recording(lambda: self.operator.snapshot()))

    def restarted(self) -> "ProcessorHarness":
        """A fresh instance that goes on from a snapshot of this one."""
        state = self.snapshot()
        fresh = ProcessorHarness(self._class, context=self._context)
        fresh._recorder.recording(lambda: fresh.operator.restore(state))
        return fresh


def batch_of(records: Iterable[Given], input: int) -> Batch:
    """The batch of what a test gives."""
    rows = [_row(given) for given in records]
    keyed, timed = any(r[0] is not None for r in rows), any(r[2] is not None for r in rows)
    absent = Column(b"", [])
    return Batch(
        len(rows),
        Column.of([r[0] or b"" for r in rows]) if keyed else absent,
        Column.of([r[1] for r in rows]),
        [r[2] or 0 for r in rows] if timed else [],
        input,
    )


def _row(given: Given) -> Tuple[Optional[Union[str, bytes]], Union[str, bytes], Optional[int]]:
    parts = given if isinstance(given, tuple) else (None, given)
    if not 2 <= len(parts) <= 3:
        raise ValueError(f"give a value, (key, value) or (key, value, timestamp), not {given!r}")
    value = parts[1] if isinstance(parts[1], (str, bytes)) else jsons.dumps(parts[1])
    return parts[0], value, parts[2] if len(parts) == 3 else None


def resolve(out: Out, origins: Batch) -> Answer:
    """What the host makes of an answer; refuses what it would refuse."""
    answer = Answer()
    for chunk in out.chunks:
        rows = _rows(chunk, origins)
        keys, values = chunk.column(chunk.keys), chunk.column(chunk.values)
        for name, column in (("keys", keys), ("values", values), ("timestamps", chunk.timestamps)):
            if column is not None and len(column) != len(rows):
                raise OperatorError(
                    f"an emission of {len(rows)} records to port {chunk.port} has {len(column)} {name}"
                )
        records = answer.outputs.setdefault(chunk.port, [])
        for i, row in enumerate(rows):
            origin = origins[row] if row is not None else None
            key = keys[i] if keys is not None else origin.key if origin else b""
            value = values[i] if values is not None else origin.value if origin else b""
            time = chunk.timestamps[i] if chunk.timestamps is not None else (
                origin.timestamp if origin else None
            )
            records.append(Output(key, value, time))
    for index, reason in out.rejected:
        answer.rejected.append(Rejected(origins[_checked(index, origins)].value, reason))
    return answer


def _rows(chunk: Chunk, origins: Batch) -> Sequence[Optional[int]]:
    if chunk.origin == SAME:
        return range(len(origins))
    if chunk.origin == FRESH:
        given = next((c for c in (chunk.values, chunk.keys, chunk.timestamps) if c is not None), [])
        return [None] * len(given)
    return [_checked(row, origins) for row in chunk.rows]


def _checked(index: int, origins: Batch) -> int:
    if not 0 <= index < len(origins):
        raise OperatorError(f"index {index} is out of range: there are {len(origins)} records")
    return index


from .testing_keyed import KeyedHarness, sessions, sliding, tumbling  # noqa: E402
