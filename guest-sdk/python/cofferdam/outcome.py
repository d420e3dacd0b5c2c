"""What an operator answers: emissions to ports, and records that it refuses.

`Out` collects; `guest.py` hands it to the host, and `testing.py` reads it as the
host would.
"""

from __future__ import annotations

from itertools import accumulate
from typing import Any, Dict, Iterable, List, Optional, Sequence, Union

from .columns import Column
from .jsons import dumps

__all__ = ["Chunk", "Out"]

Bytes = Union[bytes, str]
Entries = Union[Column, Sequence[Bytes]]

# Where the columns that an emission does not give come from.
FRESH, SAME, KEEP = 0, 1, 2

# What the records of a chunk are given, as bits: chunks of one shape go on.
OF, TIMESTAMP, KEY, VALUE, EMITTED = 16, 8, 4, 2, 1
OF_VALUE = OF | VALUE | EMITTED


class Chunk:
    """Records for one port that are made in the same way: one emission of the
    contract. A column that is None comes from the origin."""

    __slots__ = ("port", "origin", "rows", "keys", "values", "timestamps", "shape")

    def __init__(self, port: int, origin: int, shape: int) -> None:
        self.port = port
        self.origin = origin
        self.shape = shape
        self.rows: List[int] = []
        self.keys: Optional[Entries] = None
        self.values: Optional[Entries] = None
        self.timestamps: Optional[List[int]] = None

    def column(self, entries: Optional[Entries]) -> Optional[Column]:
        """One of its columns, as it crosses the wall."""
        if entries is None or isinstance(entries, Column):
            return entries
        parts: List[bytes] = [
            e if e.__class__ is bytes else e.encode() if e.__class__ is str else bytes(e)  # type: ignore
            for e in entries
        ]
        return Column(b"".join(parts), [0, *accumulate(map(len, parts))])


class Out:
    """Takes what an operator emits and rejects. Records of a port keep their order."""

    __slots__ = ("chunks", "rejected", "_last", "_batch_len")

    def __init__(self, batch_len: int) -> None:
        self.chunks: List[Chunk] = []
        #: (index, reason) of each record that was refused.
        self.rejected: List[Any] = []
        self._last: Dict[int, Chunk] = {}
        self._batch_len = batch_len

    def keep(self, record: Any, port: int = 0) -> None:
        """Emits a record (or, in ``fire``, a firing) as it is. The host copies it;
        nothing of it passes through Python. An index will do, too."""
        chunk = self._last.get(port)
        if chunk is None or chunk.shape != 0:
            chunk = self._begin(port, KEEP, 0)
        chunk.rows.append(record if record.__class__ is int else record.index)

    def keep_all(self, indexes: Iterable[int], port: int = 0) -> None:
        """Emits the records of these indexes: the fastest way to filter and route."""
        chunk = self._last.get(port)
        if chunk is None or chunk.shape != 0:
            chunk = self._begin(port, KEEP, 0)
        chunk.rows.extend(indexes)

    def keep_batch(self, port: int = 0) -> None:
        """Emits the whole batch as it is."""
        self.same(port=port)

    def same(
        self,
        values: Optional[Entries] = None,
        keys: Optional[Entries] = None,
        timestamps: Optional[List[int]] = None,
        port: int = 0,
    ) -> None:
        """Emits one record for each record of the batch, in order. What is not given
        stays as it is; what is given has one entry a record, as a list or a Column."""
        for name, entries in (("values", values), ("keys", keys), ("timestamps", timestamps)):
            if entries is not None and len(entries) != self._batch_len:
                raise ValueError(
                    f"{name} has {len(entries)} entries for a batch of {self._batch_len} records"
                )
        chunk = self._begin(port, SAME, -1)
        chunk.values, chunk.keys, chunk.timestamps = values, keys, timestamps

    def emit(
        self,
        value: Optional[Bytes] = None,
        *,
        of: Any = None,
        key: Optional[Bytes] = None,
        timestamp: Optional[int] = None,
        port: int = 0,
    ) -> None:
        """Emits a record. With ``of`` (a record or a firing) it has that one's key,
        value and time wherever none is given here; without, it has nothing else.
        Text is emitted as UTF-8."""
        shape = EMITTED
        if value is not None:
            shape |= VALUE
        if key is not None:
            shape |= KEY
        if timestamp is not None:
            shape |= TIMESTAMP
        if of is not None:
            shape |= OF
        chunk = self._last.get(port)
        if chunk is None or chunk.shape != shape:
            chunk = self._begin(port, FRESH if of is None else KEEP, shape)
        if of is not None:
            chunk.rows.append(of if of.__class__ is int else of.index)
        if value is not None:
            chunk.values.append(value)  # type: ignore[union-attr]
        if key is not None:
            chunk.keys.append(key)  # type: ignore[union-attr]
        if timestamp is not None:
            chunk.timestamps.append(timestamp)  # type: ignore[union-attr]

    def emit_json(
        self,
        value: Any,
        *,
        of: Any = None,
        key: Optional[Bytes] = None,
        timestamp: Optional[int] = None,
        port: int = 0,
    ) -> None:
        """As :meth:`emit`, with a value that is written as JSON."""
        if of is None or key is not None or timestamp is not None:
            self.emit(dumps(value), of=of, key=key, timestamp=timestamp, port=port)
            return
        chunk = self._last.get(port)  # As `emit` would, in fewer steps.
        if chunk is None or chunk.shape != OF_VALUE:
            chunk = self._begin(port, KEEP, OF_VALUE)
        chunk.rows.append(of if of.__class__ is int else of.index)
        chunk.values.append(dumps(value))  # type: ignore[union-attr]

    def emit_all(
        self,
        values: Entries,
        *,
        of: Optional[Iterable[int]] = None,
        keys: Optional[Entries] = None,
        timestamps: Optional[List[int]] = None,
        port: int = 0,
    ) -> None:
        """Emits many records at once: values, and what else is given, one entry each.
        ``of`` has the indexes of the records that they stem from."""
        chunk = self._begin(port, FRESH if of is None else KEEP, -1)
        if of is not None:
            chunk.rows = list(of)
        for name, entries in (("of", chunk.rows if of is not None else None),
                              ("keys", keys), ("timestamps", timestamps)):
            if entries is not None and len(entries) != len(values):
                raise ValueError(f"{name} has {len(entries)} entries for {len(values)} values")
        chunk.values, chunk.keys, chunk.timestamps = values, keys, timestamps

    def reject(self, record: Any, reason: str) -> None:
        """Sends a record (or its index) to the operator's dead letters, with the reason."""
        index = record if record.__class__ is int else record.index
        self.rejected.append((index, str(reason)))

    def _begin(self, port: int, origin: int, shape: int) -> Chunk:
        chunk = Chunk(port, origin, shape)
        if shape > 0:
            if shape & VALUE:
                chunk.values = []
            if shape & KEY:
                chunk.keys = []
            if shape & TIMESTAMP:
                chunk.timestamps = []
        self.chunks.append(chunk)
        self._last[port] = chunk
        return chunk
