"""One call of the contract's `keyed-processor` as calls of an author's operator,
group by group. The component and the test harness both come this way."""

from __future__ import annotations

from typing import Any, List, Optional

from .columns import Batch, Column
from .errors import Reject
from .keyed import UNREAD, Call, Firing, Group, KeyedOperator, Now
from .outcome import Out

__all__ = ["Call", "check", "fire", "fold", "merge"]


def fold(
    operator: KeyedOperator[Any], now: Now, batch: Batch, groups: Any, out: Out
) -> Call:
    """Folds a batch. ``groups`` has the attributes of the contract's record."""
    of_author = operator.fold
    call = Call(now, batch, groups, operator.state_codec(), with_rows=True)
    commit = call.commit
    for index in range(call.count):
        group = Group(index, call)
        try:
            of_author(group, out)
        except Reject as reason:
            for row in group.rows:
                out.reject(row, str(reason))
        except BaseException as error:
            if batch.in_hand not in group.rows:
                batch.in_hand = -1
                _in_hand(error, group)
            raise
        else:
            if group.held is not UNREAD:
                commit(group)
    return call


def fire(
    operator: KeyedOperator[Any], now: Now, kinds: List[str], times: List[int], groups: Any,
    out: Out,
) -> Call:
    """Fires what is due."""
    of_author = operator.fire
    rows, offsets = groups.rows, groups.row_offsets
    nothing = Batch(0, Column(b"", []), Column(b"", []), [])
    call = Call(now, nothing, groups, operator.state_codec(), with_rows=False)
    for index in range(call.count):
        group = Group(index, call)
        key = group.key
        try:
            for row in rows[offsets[index] : offsets[index + 1]]:
                of_author(group, Firing(row, kinds[row], times[row], key), out)
        except BaseException as error:
            _in_hand(error, group)
            raise
        if group.held is not UNREAD:
            call.commit(group)
    return call


def _in_hand(error: BaseException, group: Group[Any]) -> None:
    """Has a crash tell the group that was being worked on, since no record was."""
    if hasattr(error, "add_note"):  # From Python 3.11 on, and so in every component.
        window = "" if group.window is None else f", {group.window}"
        error.add_note(f"  in hand: key {group.key.decode(errors='backslashreplace')!r}{window}")


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
