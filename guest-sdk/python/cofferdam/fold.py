"""One call of the contract's `keyed-processor` as calls of an author's operator,
group by group. The component and the test harness both come this way."""

from __future__ import annotations

from typing import Any, Callable, List, Optional

from .columns import Batch, Column
from .errors import Reject
from .keyed import Call, Firing, Group, KeyedOperator, Now, Window
from .outcome import Out

__all__ = ["Call", "check", "fire", "fold", "merge"]


def fold(
    operator: KeyedOperator[Any], now: Now, batch: Batch, groups: Any, out: Out
) -> Call:
    """Folds a batch. ``groups`` has the attributes of the contract's record."""
    of_author = operator.fold

    def each(group: Group[Any]) -> None:
        try:
            of_author(group, out)
        except Reject as reason:
            for row in group.rows:
                out.reject(row, str(reason))
        else:
            group.commit()

    return _each_group(operator, now, batch, groups, each, True)


def fire(
    operator: KeyedOperator[Any], now: Now, kinds: List[str], times: List[int], groups: Any,
    out: Out,
) -> Call:
    """Fires what is due."""
    of_author = operator.fire
    rows, offsets = groups.rows, groups.row_offsets

    def each(group: Group[Any]) -> None:
        for row in rows[offsets[group.index] : offsets[group.index + 1]]:
            of_author(group, Firing(row, kinds[row], times[row], group.key), out)
        group.commit()

    nothing = Batch(0, Column(b"", []), Column(b"", []), [])
    return _each_group(operator, now, nothing, groups, each, False)


def merge(operator: KeyedOperator[Any], keys: Column, left: Column, right: Column) -> List[bytes]:
    """Merges states pairwise."""
    codec = operator.state_codec()
    merged: List[bytes] = []
    for key, earlier, later in zip(keys, left, right):
        if earlier and later:
            state = operator.merge(key, codec.decode(earlier), codec.decode(later))
            merged.append(codec.encode(state))
        else:
            merged.append(earlier or later)
    return merged


def check(operator: KeyedOperator[Any], keys: Column, states: Column) -> Optional[str]:
    """What is wrong with states that another version left; None if nothing is."""
    codec = operator.state_codec()
    for key, state in zip(keys, states):
        try:
            codec.decode(state)
        except (ValueError, TypeError, AttributeError) as error:
            return f"the state of key {key.decode(errors='backslashreplace')!r}: {error}"
    return None


def _each_group(
    operator: KeyedOperator[Any], now: Now, batch: Batch, groups: Any,
    do: Callable[[Group[Any]], None], with_rows: bool,
) -> Call:
    call = Call(now, batch, operator.state_codec())
    offsets, rows = groups.row_offsets, groups.rows
    starts, ends = groups.window_starts, groups.window_ends
    count = len(offsets) - 1
    keys = Column(groups.keys.data, groups.keys.offsets, count)
    states = Column(groups.states.data, groups.states.offsets, count)
    nothing: List[int] = []
    for index, (key, before) in enumerate(zip(keys, states)):
        window = Window(starts[index], ends[index]) if starts else None
        of_group = rows[offsets[index] : offsets[index + 1]] if with_rows else nothing
        do(Group(index, key, before, window, of_group, call))
    return call
