"""What an operator raises on purpose. Anything else is a crash: see `crash.py`."""

from __future__ import annotations

__all__ = ["ConfigError", "OperatorError", "Reject", "Unreadable"]


class OperatorError(Exception):
    """The operator says no to a whole call: its message is shown, without a
    traceback. In ``open`` it stops the job; in ``process`` or ``fold`` it fails the
    batch, and with it the job under its restart strategy. To refuse one record, use
    :class:`Reject` or ``out.reject``."""


class ConfigError(OperatorError):
    """The operator's configuration is wrong."""


class Reject(Exception):
    """Raised in ``process_record`` or ``fold_record``: the record goes to the dead
    letters with this reason, and the others go on. In ``fold`` it is all records of
    the group, whose state stays as it was."""


class Unreadable(Reject, ValueError):
    """A key or value is not what it was read as, such as ``record.json()`` of what is
    no JSON. Like any :class:`Reject`, it rejects the record if nobody catches it."""
