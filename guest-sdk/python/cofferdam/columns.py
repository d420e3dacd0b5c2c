"""Columns, batches and records: what an operator is given.

A batch is columns of bytes, as it crossed the wall of the sandbox; nothing is
copied out of them before somebody asks. What an operator answers is in
`outcome.py`.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate, islice, repeat
from typing import Any, Iterable, Iterator, List, Optional, Union

from . import jsons
from .errors import Unreadable

__all__ = ["Batch", "Column", "Record"]


class Column:
    """Byte strings, one after the other: entry ``i`` is
    ``data[offsets[i]:offsets[i + 1]]``.

    A column of n entries has n + 1 offsets. One that is *absent* (a stream
    without keys) has none, and every entry reads as ``b""``.
    """

    __slots__ = ("data", "offsets", "_absent_len")

    def __init__(self, data: bytes, offsets: List[int], absent_len: int = 0) -> None:
        self.data = data
        self.offsets = offsets
        self._absent_len = absent_len

    @classmethod
    def of(cls, entries: Iterable[Union[bytes, str]]) -> "Column":
        """A column of these entries; text becomes UTF-8."""
        parts = [e.encode() if isinstance(e, str) else e for e in entries]
        return cls(b"".join(parts), [0, *accumulate(map(len, parts))])

    @property
    def present(self) -> bool:
        """Whether the stream has this column at all."""
        return bool(self.offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1 if self.offsets else self._absent_len

    def __getitem__(self, index: int) -> bytes:
        n = len(self)
        if not -n <= index < n:
            raise IndexError(f"entry {index} of a column of {n}")
        if not self.offsets:
            return b""
        index %= n
        return self.data[self.offsets[index] : self.offsets[index + 1]]

    def view(self, index: int) -> memoryview:
        """Entry ``index`` without copying it."""
        if not self.offsets:
            return memoryview(b"")
        return memoryview(self.data)[self.offsets[index] : self.offsets[index + 1]]

    def __iter__(self) -> Iterator[bytes]:
        """All entries, in order. As fast as Python gets: no bytecode runs an entry."""
        offsets = self.offsets
        if not offsets:
            return repeat(b"", self._absent_len)
        return map(self.data.__getitem__, map(slice, offsets, islice(offsets, 1, None)))

    def containing(self, needle: Union[bytes, str]) -> List[int]:
        """The indexes of the entries that contain ``needle``, in order.

        Searches the whole column at once, so entries without it cost nothing but
        their bytes. Goes with :meth:`Out.keep_all`.
        """
        if isinstance(needle, str):
            needle = needle.encode()
        if not needle:
            return list(range(len(self)))
        data, offsets, length, found = self.data, self.offsets, len(needle), []
        at = data.find(needle)
        while at >= 0:
            index = bisect_right(offsets, at) - 1
            end = offsets[index + 1]
            if at + length <= end:
                found.append(index)
                at = data.find(needle, end)
            else:  # It begins in one entry and ends in another.
                at = data.find(needle, at + 1)
        return found

    def __repr__(self) -> str:
        return f"Column({list(self)!r})" if len(self) <= 8 else f"<Column of {len(self)}>"


class Record:
    """One record of a batch."""

    __slots__ = ("batch", "index", "value")

    batch: "Batch"
    #: Its index in the batch.
    index: int
    #: Its value.
    value: bytes

    def __init__(self, batch: "Batch", index: int, value: bytes) -> None:
        self.batch = batch
        self.index = index
        self.value = value

    @property
    def key(self) -> bytes:
        """Its key; empty where the stream has none."""
        keys = self.batch.keys
        offsets = keys.offsets
        if not offsets:
            return b""
        index = self.index
        return keys.data[offsets[index] : offsets[index + 1]]

    @property
    def timestamp(self) -> Optional[int]:
        """Its event time, milliseconds since 1970; None where the stream has none."""
        timestamps = self.batch.timestamps
        return timestamps[self.index] if timestamps else None

    @property
    def text(self) -> str:
        """Its value as text. Raises :class:`Unreadable` if it is not UTF-8."""
        try:
            return self.value.decode()
        except UnicodeDecodeError:
            raise Unreadable("the value is not UTF-8") from None

    @property
    def key_text(self) -> str:
        """Its key as text. Raises :class:`Unreadable` if it is not UTF-8."""
        try:
            return self.key.decode()
        except UnicodeDecodeError:
            raise Unreadable("the key is not UTF-8") from None

    @property
    def view(self) -> memoryview:
        """Its value as a view of the batch."""
        return self.batch.values.view(self.index)

    def json(self) -> Any:
        """Its value, read as JSON. Raises :class:`Unreadable` if it is none."""
        try:
            return jsons.loads(self.value)
        except ValueError as error:
            raise Unreadable(f"the value is not JSON: {error}") from None

    def __repr__(self) -> str:
        return (
            f"Record({self.index}, key={self.key!r}, value={self.value!r}, "
            f"timestamp={self.timestamp})"
        )


class Batch:
    """Records that came together, by one input port.

    ``for record in batch`` is the quick way; :attr:`values`, :attr:`keys` and
    :attr:`timestamps` are the fast one.
    """

    __slots__ = ("_len", "keys", "values", "timestamps", "input", "in_hand")

    #: The records' keys.
    keys: Column
    #: The records' values.
    values: Column
    #: Event times in milliseconds since 1970; empty where the stream has none.
    timestamps: List[int]
    #: The input port that the batch came by, from 0.
    input: int

    def __init__(
        self, length: int, keys: Column, values: Column, timestamps: List[int], input: int = 0
    ) -> None:
        self._len = length
        self.keys = Column(keys.data, keys.offsets, length)
        self.values = Column(values.data, values.offsets, length)
        self.timestamps = timestamps
        self.input = input
        # The index of the record that is being worked on, which a crash tells.
        self.in_hand = -1

    def __len__(self) -> int:
        return self._len

    def __iter__(self) -> Iterator[Record]:
        for index, value in enumerate(self.values):
            self.in_hand = index
            yield Record(self, index, value)
        self.in_hand = -1

    def __getitem__(self, index: int) -> Record:
        if not -self._len <= index < self._len:
            raise IndexError(f"record {index} of a batch of {self._len}")
        return Record(self, index % self._len, self.values[index])

    def rows(self, indexes: Iterable[int]) -> Iterator[Record]:
        """The records of these indexes, in their order."""
        data, offsets = self.values.data, self.values.offsets
        for index in indexes:
            self.in_hand = index
            yield Record(
                self, index, data[offsets[index] : offsets[index + 1]] if offsets else b""
            )
        self.in_hand = -1
