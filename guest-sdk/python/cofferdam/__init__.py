"""Cofferdam: stream operators in Python, run in a WebAssembly sandbox.

An operator is a class, or a function, in ``app.py``::

    from cofferdam import Out, Record, operator

    @operator
    def errors_only(record: Record, out: Out) -> None:
        if b"error" in record.value:
            out.keep(record)

=====================  =====================================================
:class:`Processor`     a batch in, records out
:class:`KeyedOperator` a fold over each key's records, with state, windows, timers
:class:`Out`           what is emitted, kept, rejected
:mod:`.metrics`        counters, gauges, histograms
:mod:`logging`         of the standard library: its lines are the operator's log
:mod:`.testing`        runs an operator in plain Python
=====================  =====================================================
"""

from . import metrics
from .codec import BytesCodec, Codec, IntCodec, JsonCodec, StructCodec, TextCodec
from .columns import Batch, Column, Record
from .context import Config, Context
from .errors import ConfigError, OperatorError, Reject, Unreadable
from .keyed import Firing, Group, KeyedOperator, Window
from .outcome import Out
from .processor import Processor, operator

__all__ = [
    "Batch", "BytesCodec", "Codec", "Column", "Config", "ConfigError", "Context", "Firing", "Group",
    "IntCodec", "JsonCodec", "KeyedOperator", "OperatorError", "Out", "Processor", "Record", "Reject",
    "StructCodec", "TextCodec", "Unreadable", "Window", "metrics", "operator",
]
