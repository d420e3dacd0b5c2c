"""Operators with state by key: a fold over each key's records.

The host groups a batch by key (and window), hands over each group's state, and
takes back what changed. How that is driven is in `fold.py`.
"""

from __future__ import annotations

import typing
from dataclasses import dataclass
from typing import Any, Dict, Generic, Iterator, List, Optional, Tuple, TypeVar

from .codec import Codec, codec_for
from .columns import Batch, Record
from .context import Context
from .errors import OperatorError, Reject, Unreadable
from .outcome import Out

__all__ = ["UNREAD", "Call", "Firing", "Group", "KeyedOperator", "Now", "Window"]

S = TypeVar("S")

EVENT, PROCESSING = "event", "processing"


@dataclass(frozen=True)
class Now:
    """What time it is for the operator."""

    #: No record older than this is expected any more; None before the first watermark.
    watermark: Optional[int]
    #: The host's clock.
    processing: int


@dataclass(frozen=True, order=True)
class Window:
    """A window of event time, milliseconds since 1970."""

    #: Its first millisecond.
    start: int
    #: The first millisecond after it.
    end: int


@dataclass(frozen=True)
class Firing:
    """Why and for what time a group is fired. A record that is emitted ``of`` it has
    the group's key and this time."""

    index: int
    #: ``"window"``, ``"event"`` or ``"processing"``.
    kind: str
    #: The timer's time; for a window, its last millisecond.
    time: int
    #: The group's key.
    key: bytes


class Call:
    """A call of the contract: what its groups have in common, and what they changed,
    beside what they emitted. ``groups`` has the attributes of the contract's record."""

    __slots__ = (
        "now", "batch", "count", "keys", "key_offsets", "key_text", "states", "state_offsets",
        "starts", "ends", "rows", "row_offsets", "read", "encode", "changed", "new", "timers",
    )

    def __init__(
        self, now: Now, batch: Batch, groups: Any, codec: Codec[Any], with_rows: bool
    ) -> None:
        self.now = now
        self.batch = batch
        self.count = count = len(groups.row_offsets) - 1
        nothing = [0] * (count + 1)
        self.keys = groups.keys.data
        self.key_offsets = groups.keys.offsets or nothing
        # All keys as one text, if that has the same offsets.
        self.key_text = self.keys.decode() if self.keys.isascii() else None
        self.states = groups.states.data
        self.state_offsets = groups.states.offsets or nothing
        self.starts, self.ends = groups.window_starts, groups.window_ends
        self.rows = groups.rows if with_rows else []
        self.row_offsets = groups.row_offsets
        self.read = codec.reader(groups.states)
        self.encode = codec.encode
        self.changed: List[int] = []
        # The states of those that changed.
        self.new: List[bytes] = []
        # (group, kind, time) -> whether it is set: the last word on a timer counts.
        self.timers: Dict[Tuple[int, str, int], bool] = {}

    def commit(self, group: Group[Any]) -> None:
        """Takes down the state of a group that asked for it, if it is another than before."""
        index, state = group.index, group.held
        after = b"" if state is None else self.encode(state)
        if after != self.states[self.state_offsets[index] : self.state_offsets[index + 1]]:
            self.changed.append(index)
            self.new.append(after)


#: Stands for the state of a group that nobody has asked for.
UNREAD: Any = object()


class Group(Generic[S]):
    """One key of a call, or one pair of key and window: its state, its records, its
    timers. ``for record in group`` goes through the records in order of arrival."""

    # There are as many as there are keys in a batch, so what can be looked up in the
    # call is not kept here.
    __slots__ = ("index", "held", "_call")

    #: Its number in the call.
    index: int
    #: The state, or :data:`UNREAD`; for `fold.py`.
    held: Any

    def __init__(self, index: int, call: Call) -> None:
        self.index = index
        self._call = call
        self.held = UNREAD

    def __iter__(self) -> Iterator[Record]:
        rows, batch = self.rows, self._call.batch
        if len(rows) != 1:
            return batch.rows(rows)
        row = batch.in_hand = rows[0]  # Many groups have one: no generator for it.
        values, offsets = batch.values, batch.values.offsets
        value = values.data[offsets[row] : offsets[row + 1]] if offsets else b""
        return iter((Record(batch, row, value),))

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def key(self) -> bytes:
        """The key."""
        call, index = self._call, self.index
        return call.keys[call.key_offsets[index] : call.key_offsets[index + 1]]

    @property
    def key_text(self) -> str:
        """The key as text. Raises :class:`Unreadable` if it is not UTF-8."""
        call, index = self._call, self.index
        if call.key_text is not None:
            return call.key_text[call.key_offsets[index] : call.key_offsets[index + 1]]
        try:
            return self.key.decode()
        except UnicodeDecodeError:
            raise Unreadable("the key is not UTF-8") from None

    @property
    def window(self) -> Optional[Window]:
        """The window, if the job gives the operator windows."""
        call, index = self._call, self.index
        return Window(call.starts[index], call.ends[index]) if call.starts else None

    @property
    def rows(self) -> List[int]:
        """The indexes of its records in :attr:`batch`; empty in ``fire``."""
        call, index = self._call, self.index
        return call.rows[call.row_offsets[index] : call.row_offsets[index + 1]]

    @property
    def batch(self) -> Batch:
        """The batch that the records are in."""
        return self._call.batch

    @property
    def input(self) -> int:
        """The input port that the records came in by, from 0."""
        return self.batch.input

    @property
    def state(self) -> Optional[S]:
        """The state; None if there is none. What is changed in it is kept; assigning
        replaces it, and None, or ``del``, deletes it."""
        if self.held is UNREAD:
            self._read()
        state: Optional[S] = self.held
        return state

    @state.setter
    def state(self, state: Optional[S]) -> None:
        self.held = state

    @state.deleter
    def state(self) -> None:
        self.held = None

    def state_or(self, default: S) -> S:
        """The state; the default, which becomes the state, if there is none."""
        if self.held is UNREAD:
            self._read()
        if self.held is None:
            self.held = default
        state: S = self.held
        return state

    @property
    def watermark(self) -> Optional[int]:
        """Event time: no record older than this is expected any more, in
        milliseconds since 1970; None before the first watermark."""
        return self._call.now.watermark

    @property
    def processing_time(self) -> int:
        """The host's clock, milliseconds since 1970. There is no other: a replay
        must do the same again."""
        return self._call.now.processing

    def set_timer(self, at: int, kind: str = EVENT) -> None:
        """Has ``fire`` called when event time (or with ``kind="processing"`` the host's
        clock) has passed ``at``, milliseconds since 1970. Twice is once."""
        self._timer(at, kind, True)

    def delete_timer(self, at: int, kind: str = EVENT) -> None:
        """Deletes a timer; nothing happens if there is none."""
        self._timer(at, kind, False)

    def _timer(self, at: int, kind: str, is_set: bool) -> None:
        if kind != EVENT and kind != PROCESSING:
            raise ValueError(f"a timer's kind is {EVENT!r} or {PROCESSING!r}, not {kind!r}")
        self._call.timers[(self.index, kind, at)] = is_set

    def _read(self) -> None:
        call, index = self._call, self.index
        begin, end = call.state_offsets[index], call.state_offsets[index + 1]
        if begin == end:
            self.held = None
            return
        try:
            self.held = call.read(begin, end)
        except (ValueError, TypeError, AttributeError) as error:
            key = self.key.decode(errors="backslashreplace")
            raise OperatorError(f"the state of key {key!r} cannot be read: {error}") from error


class KeyedOperator(Generic[S]):
    """An operator with state by key. ``S`` is the type of the state: a dataclass, a
    dictionary, a number, text, or bytes::

        @dataclass
        class Count:
            count: int = 0

        @operator
        class Counter(KeyedOperator[Count]):
            def fold(self, group, out):
                state = group.state_or(Count())
                for record in group:
                    state.count += 1
                    out.emit(str(state.count), of=record)

    States are JSON, bytes as they are; :attr:`codec` chooses otherwise.
    """

    #: How states become bytes; None: JSON, or as it is for bytes.
    codec: Optional[Codec[Any]] = None

    def open(self, ctx: Context) -> None:
        """Called once, first of all. Read and check ``ctx.config`` here."""

    def fold(self, group: Group[S], out: Out) -> None:
        """Folds a group's records into its state. This one calls
        :meth:`fold_record` for each record."""
        fold_record = self.fold_record
        for record in group:
            try:
                fold_record(group, record, out)
            except Reject as reason:
                out.reject(record, str(reason))

    def fold_record(self, group: Group[S], record: Record, out: Out) -> None:
        """Folds one record into its group's state."""
        raise NotImplementedError(f"{type(self).__name__} has neither `fold` nor `fold_record`")

    def fire(self, group: Group[S], firing: Firing, out: Out) -> None:
        """A timer of the group is due, or its window has ended. A window's state is
        the host's to remove: while late records are allowed, it fires again."""

    def merge(self, key: bytes, earlier: S, later: S) -> S:
        """The state of the session that two sessions of a key have become. Needed in
        session windows; the world is ``session-operator``."""
        raise NotImplementedError(f"{type(self).__name__} has no `merge`")

    def state_codec(self) -> Codec[Any]:
        """The codec in use."""
        if self.codec is None:
            self.codec = codec_for(_state_type(type(self)))
        return self.codec


def _state_type(cls: type) -> Any:
    """The S of ``class X(KeyedOperator[S])``."""
    for base in getattr(cls, "__orig_bases__", ()):
        if typing.get_origin(base) is KeyedOperator:
            return typing.get_args(base)[0]
    for base in cls.__bases__:
        if issubclass(base, KeyedOperator):
            return _state_type(base)
    return Any
