"""What is said of a crash: what the author reads when an operator raised what it did
not mean to.
"""

from __future__ import annotations

import re
import traceback
from typing import List, Optional

from .columns import Batch

__all__ = ["describe_crash"]

#: So much of a key or value is shown.
SHOWN_BYTES = 200


def describe_crash(error: BaseException, batch: Optional[Batch]) -> str:
    """The exception with its traceback, from the author's first line on, and the
    record that was in hand."""
    try:
        text = "".join(_trimmed(error).format())
    except Exception as cannot:  # Out of memory, or a __str__ that raises.
        text = f"{type(error).__name__} (and no traceback: {type(cannot).__name__})\n"
    # `/0/app.py` is where the builder mounted the project.
    text = re.sub(r'File "/\d+/', 'File "', text).rstrip("\n")
    if batch is None or batch.in_hand < 0:
        return text
    record = batch[batch.in_hand]
    time = "" if record.timestamp is None else f", time {record.timestamp}"
    key = f", key {_shown(record.key)}" if batch.keys.present else ""
    return (
        f"{text}\n  in hand: record {record.index} of the batch's {len(batch)}"
        f"{key}{time}, value {_shown(record.value)}"
    )


def _trimmed(error: BaseException) -> traceback.TracebackException:
    """Without the SDK's own frames at the outside."""
    told = traceback.TracebackException.from_exception(error)
    frames: List[traceback.FrameSummary] = list(told.stack)
    while len(frames) > 1 and _is_ours(frames[0].filename):
        del frames[0]
    told.stack = traceback.StackSummary.from_list(frames)
    return told


def _is_ours(path: str) -> bool:
    folder = __file__.rpartition("/")[0]
    return path.startswith(folder) and not path.endswith("testing.py")


def _shown(data: bytes) -> str:
    cut = data[:SHOWN_BYTES]
    text = repr(cut.decode(errors="backslashreplace"))
    return text if len(data) <= SHOWN_BYTES else f"{text}… ({len(data)} bytes)"
