"""Where log lines and metrics go: to the host in a component, to a list in a test.

Operators use :mod:`logging` and :mod:`cofferdam.metrics`, not this.
"""

from __future__ import annotations

import logging
from typing import Protocol, TextIO, cast

__all__ = ["LogHandler", "Platform", "LogStream", "current", "use"]

#: The level below DEBUG, as the host has one.
TRACE = 5


class Platform(Protocol):
    """What the host lends to an operator."""

    def log(self, level: int, message: str) -> None:
        """A line at a level of :mod:`logging`."""

    def counter_add(self, name: str, delta: int) -> None: ...

    def gauge_set(self, name: str, value: float) -> None: ...

    def histogram_record(self, name: str, value: float) -> None: ...


class Nowhere:
    """Outside of a host and a test: log lines go on to the root logger's other
    handlers, metrics go nowhere."""

    def log(self, level: int, message: str) -> None: ...

    def counter_add(self, name: str, delta: int) -> None: ...

    def gauge_set(self, name: str, value: float) -> None: ...

    def histogram_record(self, name: str, value: float) -> None: ...


current: Platform = Nowhere()


def use(platform: Platform) -> Platform:
    """Sets where they go from now on; returns where they went."""
    global current
    before, current = current, platform
    return before


class LogHandler(logging.Handler):
    """Hands what goes through :mod:`logging` to the host."""

    def emit(self, record: logging.LogRecord) -> None:
        current.log(record.levelno, self.format(record))


class LogStream:
    """Takes what is printed, line by line, as log lines."""

    encoding = "utf-8"
    errors = "replace"

    def __init__(self, level: int) -> None:
        self._level = level
        self._line = ""

    def write(self, text: str) -> int:
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            current.log(self._level, line)
        return len(text)

    def flush(self) -> None:
        """A line is written when it is whole."""

    def isatty(self) -> bool:
        """No."""
        return False

    def as_text_io(self) -> TextIO:
        """For ``sys.stdout``, which wants more than is used."""
        return cast(TextIO, self)
