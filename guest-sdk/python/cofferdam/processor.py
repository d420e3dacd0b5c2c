"""Operators without keyed state, and how an operator is named to the host."""

from __future__ import annotations

import inspect
from typing import Any, Callable, List, Optional, Type, TypeVar, Union

from .columns import Batch, Record
from .context import Context
from .errors import Reject
from .outcome import Out

__all__ = ["Processor", "operator", "registered"]


class Processor:
    """An operator whose answer depends on the batch alone, or on what it keeps in
    its own memory.

    Override :meth:`process_record`, the quick way, or :meth:`process`, the fast
    one. An operator that keeps something in memory and must not lose it overrides
    :meth:`snapshot` and :meth:`restore`, too, and is built for the world
    ``stateful-operator``; without, it starts empty after every restart.
    """

    def open(self, ctx: Context) -> None:
        """Called once, first of all. Read and check ``ctx.config`` here."""

    def process(self, batch: Batch, out: Out) -> None:
        """Processes one batch. This one calls :meth:`process_record` for each record."""
        process_record = self.process_record
        for record in batch:
            try:
                process_record(record, out)
            except Reject as reason:
                out.reject(record, str(reason))

    def process_record(self, record: Record, out: Out) -> None:
        """Processes one record."""
        raise NotImplementedError(
            f"{type(self).__name__} has neither `process` nor `process_record`"
        )

    def finish(self, out: Out) -> None:
        """The input has ended: the last chance to emit, without ``of``."""

    def snapshot(self) -> bytes:
        """Everything that a fresh instance needs to go on from here."""
        raise NotImplementedError(f"{type(self).__name__} has no `snapshot`")

    def restore(self, state: bytes) -> None:
        """Takes what :meth:`snapshot` gave; called after :meth:`open`."""
        raise NotImplementedError(f"{type(self).__name__} has no `restore`")


class _OfFunction(Processor):
    """A function of a record, or of a batch, as an operator."""

    _function: Callable[[Any, Out], None]

    def process_record(self, record: Record, out: Out) -> None:
        type(self)._function(record, out)


class _OfBatchFunction(_OfFunction):
    def process(self, batch: Batch, out: Out) -> None:
        type(self)._function(batch, out)


T = TypeVar("T", bound=Union[Type[Any], Callable[..., None]])
_registered: List[Type[Any]] = []


def operator(what: T) -> T:
    """Says that this class, or this function, is the operator that the module makes.

    A class derives from :class:`Processor` or :class:`KeyedOperator`. A function
    takes a record and an :class:`Out`; one whose first parameter is called
    ``batch`` takes batches::

        @operator
        def errors_only(record, out):
            if b"error" in record.value:
                out.keep(record)
    """
    _registered[:] = [operator_class(what)]
    return what


def operator_class(what: Any) -> Type[Any]:
    """The class of an operator, which for a function is one that calls it."""
    if inspect.isclass(what):
        return what
    first = next(iter(inspect.signature(what).parameters), "")
    base = _OfBatchFunction if first == "batch" else _OfFunction
    return type(what.__name__, (base,), {"_function": staticmethod(what)})


def registered() -> Optional[Type[Any]]:
    """The operator that was named last, if any."""
    return _registered[0] if _registered else None
