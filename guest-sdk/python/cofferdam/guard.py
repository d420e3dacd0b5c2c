"""What of Python's library cannot work in a sandbox, and says so.

The component has no clock, files, network or random source: its WASI imports are
stubs that trap, which tells an author nothing. Here Python's doors to them get an
exception with advice instead, printing goes to the log, and tracebacks find the
author's lines without a file. For `guest.py` alone; tests run without it.
"""

from __future__ import annotations

import ast
import builtins
import io
import linecache
import logging
import os
import random
import sys
import time
import types
from importlib.machinery import BuiltinImporter, FrozenImporter
from typing import Any, Callable, NoReturn

from . import platform

# Python imports these only when it formats a traceback, which is too late here.
for _name in ("_colorize", "ast", "tokenize", "traceback", "unicodedata"):
    try:
        __import__(_name)
    except ImportError:  # Not in every version.
        pass

__all__ = ["close", "prepare", "remember_sources"]

_closed = False


def prepare() -> None:
    """Before the author's module is imported: the log, and what is seeded."""
    logging.addLevelName(platform.TRACE, "TRACE")
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging.logAsyncioTasks = False  # type: ignore[attr-defined, unused-ignore]
    # A record of `logging` has a time, and there is none.
    logging.time = types.SimpleNamespace(  # type: ignore[attr-defined]
        time=lambda: 0.0, time_ns=lambda: 0, strftime=time.strftime, gmtime=time.gmtime,
        localtime=time.localtime,
    )
    root = logging.getLogger()
    root.handlers[:] = [platform.LogHandler()]
    root.setLevel(platform.TRACE)
    logging.lastResort = None
    random.seed(0)


def close() -> None:
    """When the component is opened: from now on there is no file and no clock."""
    global _closed
    if _closed:
        return
    _closed = True
    sys.stdout = platform.LogStream(logging.INFO).as_text_io()
    sys.stderr = platform.LogStream(logging.WARNING).as_text_io()
    # The traceback is in the log already; printing it would need a real stderr.
    sys.excepthook = lambda *_: None
    sys.meta_path[:] = [BuiltinImporter, FrozenImporter, _TooLate]
    linecache.checkcache = lambda filename=None: None
    linecache.updatecache = lambda filename, module_globals=None: []
    ast.parse = _parse_expressions
    clock = _absent(
        "an operator has no clock, so that a replay does the same again: use record.timestamp, "
        "or group.processing_time in a keyed operator"
    )
    for name in ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns",
                 "process_time", "process_time_ns", "sleep"):
        setattr(time, name, clock)
    files = _absent(
        "an operator has no files: read what it needs on import, when the component is built, "
        "or put it into its config"
    )
    builtins.open = io.open = files
    for name in ("open", "stat", "listdir", "scandir"):
        setattr(os, name, files)
    entropy = _absent(
        "an operator has no random source, so that a replay does the same again: "
        "`random` works, and is seeded alike in every instance"
    )
    os.urandom = entropy
    random._urandom = entropy  # type: ignore[attr-defined]


def remember_sources(module: types.ModuleType) -> None:
    """Keeps the lines of the author's modules for tracebacks: of this one, and of
    what lies beside it."""
    folder = os.path.dirname(module.__file__ or "")
    ours = os.path.dirname(__file__)
    for other in list(sys.modules.values()):
        path = getattr(other, "__file__", None) or ""
        if not path.startswith(folder + "/") or path.startswith(ours + "/"):
            continue
        if path.endswith(".py"):
            with open(path, encoding="utf-8") as file:
                lines = file.read().splitlines(keepends=True)
            # No time of change: the entry is never looked up again.
            linecache.cache[path] = (sum(map(len, lines)), None, lines, path)


_parse: Any = ast.parse


def _parse_expressions(source: Any, filename: Any = "<unknown>", mode: str = "exec", **more: Any) -> Any:
    """For `traceback`, which parses lines to mark what of them is at fault, and takes no
    for an answer: a mistake in a program has the parser look for its file, which traps."""
    if mode == "exec":
        raise SyntaxError("a program cannot be parsed in a component, only an expression")
    return _parse(source, filename, mode, **more)


def _absent(advice: str) -> Callable[..., NoReturn]:
    def absent(*_: Any, **__: Any) -> NoReturn:
        raise RuntimeError(advice)

    return absent


class _TooLate:
    """Stands for all that might have been imported from files."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> NoReturn:
        raise ModuleNotFoundError(
            f"{name} was not imported when the component was built: import it at the top of app.py",
            name=name,
        )
