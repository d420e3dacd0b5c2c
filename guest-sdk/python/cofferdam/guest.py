"""The component: what `componentize-py` is given as the program. It imports the
author's module `app`, and is the one file that knows the generated bindings.

Runs in the sandbox only. Everything here that is done on import is done when the
component is built, and is in its memory from the first moment on.
"""

from __future__ import annotations

import gc
import sys
from typing import Any, Callable, List, Optional, TypeVar

import wit_world.exports
from componentize_py_types import Err
from wit_world.imports import config, log, metrics, types

from . import fold, guard, jsons, platform
from .columns import Batch, Column
from .context import Config, Context
from .crash import describe_crash
from .errors import OperatorError
from .keyed import KeyedOperator, Now
from .numbers import s64_in, s64_out, u32_in, u32_out
from .outcome import FRESH, SAME, Out
from .processor import Processor as ProcessorBase
from .processor import registered

guard.prepare()
import app  # noqa: E402  (its imports must find the guard prepared)

T = TypeVar("T")
_exports: Any = wit_world.exports
_LEVELS = (log.Level.TRACE, log.Level.DEBUG, log.Level.INFO, log.Level.WARN, log.Level.ERROR)


class _Host:
    """The platform of a component: the host."""

    def log(self, level: int, message: str) -> None:
        log.log(_LEVELS[min(max(level, 0) // 10, 4)], message)

    counter_add = staticmethod(metrics.counter_add)
    gauge_set = staticmethod(metrics.gauge_set)
    histogram_record = staticmethod(metrics.histogram_record)


def _made() -> Any:
    """The operator, if it fits the world that is built."""
    cls = registered()
    if cls is None:
        raise SystemExit("app.py names no operator: put `@operator` above its class or function")
    keyed = hasattr(_exports, "KeyedProcessor")
    base, world = (KeyedOperator, "keyed-operator") if keyed else (ProcessorBase, "processor-operator")
    if not issubclass(cls, base):
        raise SystemExit(
            f"{cls.__name__} is no {base.__name__}, as the world of operator.toml wants it: "
            f"derive it from {base.__name__}, or choose another `world` than {world}"
        )
    for export, method in (("SessionMerge", "merge"), ("Snapshot", "snapshot"), ("Snapshot", "restore")):
        if hasattr(_exports, export) and getattr(cls, method) is getattr(base, method):
            raise SystemExit(
                f"{cls.__name__} has no `{method}`, which the `world` of operator.toml wants"
            )
    return cls()


def _call(what: Callable[[], T], batch: Optional[Batch] = None) -> T:
    """Calls the author's code. An answer of no goes to the host as the call's error;
    a crash is logged, and then it traps, since no export may raise anything else."""
    try:
        return what()
    except OperatorError as error:
        message = str(error)
    except BaseException as error:
        log.log(log.Level.ERROR, describe_crash(error, batch))
        raise
    raise Err(message)


def _column(column: Optional[Column]) -> Any:
    return None if column is None else types.Column(column.data, u32_out(column.offsets))


def _column_of(parts: List[bytes]) -> Any:
    return _column(Column.of(parts))


def _column_in(column: Any, length: int = 0) -> Column:
    return Column(column.data, u32_in(column.offsets), length)


def _columns_in(*given: Any) -> List[Column]:
    """Columns of one length, of which some may be absent."""
    columns = [_column_in(column) for column in given]
    length = max(map(len, columns))
    return [Column(column.data, column.offsets, length) for column in columns]


class _Groups:
    """The contract's groups."""

    def __init__(self, given: Any) -> None:
        self.rows, self.row_offsets = u32_in(given.rows), u32_in(given.row_offsets)
        self.keys, self.states = _column_in(given.keys), _column_in(given.states)
        self.window_starts = s64_in(given.window_starts)
        self.window_ends = s64_in(given.window_ends)


def _outcome(out: Out) -> Any:
    emissions = []
    for chunk in out.chunks:
        if chunk.origin == SAME:
            origin: Any = types.Origin_Same()
        elif chunk.origin == FRESH:
            origin = types.Origin_Fresh()
        else:
            origin = types.Origin_Keep(u32_out(chunk.rows))
        emissions.append(
            types.Emission(
                chunk.port, origin, _column(chunk.column(chunk.keys)),
                _column(chunk.column(chunk.values)), s64_out(chunk.timestamps),
            )
        )
    return types.Outcome(emissions, [types.Rejection(i, reason) for i, reason in out.rejected])


def _context(ctx: Any) -> Context:
    guard.close()
    values = Config(jsons.loads(config.all()))
    return Context(ctx.operator, ctx.subtask, ctx.parallelism, ctx.inputs, ctx.outputs, values)


def _batch(records: Any, input: int) -> Batch:
    return Batch(
        records.len, _column_in(records.keys), _column_in(records.values),
        s64_in(records.timestamps), input,
    )


class Processor:
    """The contract's `processor`."""

    def open(self, ctx: Any) -> None:
        _call(lambda: OPERATOR.open(_context(ctx)))

    def process(self, input: int, records: Any) -> Any:
        batch = _batch(records, input)

        def call() -> Any:
            out = Out(len(batch))
            OPERATOR.process(batch, out)
            return _outcome(out)

        return _call(call, batch)

    def finish(self) -> Any:
        def call() -> Any:
            out = Out(0)
            OPERATOR.finish(out)
            return _outcome(out)

        return _call(call)


class Snapshot:
    """The contract's `snapshot`."""

    def snapshot(self) -> bytes:
        return _call(lambda: bytes(OPERATOR.snapshot()))

    def restore(self, state: bytes) -> None:
        _call(lambda: OPERATOR.restore(state))


class KeyedProcessor:
    """The contract's `keyed-processor`."""

    def open(self, ctx: Any) -> None:
        _call(lambda: OPERATOR.open(_context(ctx)))

    def fold(self, now: Any, input: int, records: Any, groups: Any) -> Any:
        batch = _batch(records, input)

        def call() -> Any:
            out = Out(len(batch))
            time = Now(now.watermark, now.processing)
            return _fold_outcome(out, fold.fold(OPERATOR, time, batch, _Groups(groups), out))

        return _call(call, batch)

    def fire(self, now: Any, due: Any, groups: Any) -> Any:
        def call() -> Any:
            times = s64_in(due.times)
            out = Out(len(times))
            time = Now(now.watermark, now.processing)
            kinds = [kind.name.lower() for kind in due.kinds]
            effects = fold.fire(OPERATOR, time, kinds, times, _Groups(groups), out)
            return _fold_outcome(out, effects)

        return _call(call)


class SessionMerge:
    """The contract's `session-merge`."""

    def merge(self, keys: Any, left: Any, right: Any) -> Any:
        return _call(
            lambda: _column_of(fold.merge(OPERATOR, *_columns_in(keys, left, right)))
        )


class StateCheck:
    """The contract's `state-check`."""

    def check(self, keys: Any, states: Any) -> None:
        wrong = fold.check(OPERATOR, *_columns_in(keys, states))
        if wrong is not None:
            raise Err(wrong)


def _fold_outcome(out: Out, effects: fold.Call) -> Any:
    kinds = _exports.keyed_processor
    timers: Any = {True: [], False: []}
    for (group, kind, at), is_set in effects.timers.items():
        timers[is_set].append(kinds.Timer(group, kinds.TimerKind[kind.upper()], at))
    return kinds.FoldOutcome(
        _outcome(out), u32_out(effects.changed), _column_of(effects.new), timers[True], timers[False]
    )


platform.use(_Host())
OPERATOR = _made()
guard.remember_sources(sys.modules["app"])
gc.collect()
gc.freeze()  # What is there now stays: the collector need not look at it again.
