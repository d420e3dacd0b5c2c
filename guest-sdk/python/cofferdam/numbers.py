"""Lists of numbers as they cross the wall: as lists, or as the bytes that they are.

componentize-py makes lists entry by entry, at 300 ns each. `cofferdam operator build`
has their bytes passed on instead, and says so by building `fast_guest.py`.
"""

from __future__ import annotations

from array import array
from typing import Any, List, Optional

__all__ = ["as_bytes", "u32_in", "u32_out", "s64_in", "s64_out"]

#: Whether it is bytes that cross.
as_bytes = False


def u32_in(given: Any) -> List[int]:
    """A ``list<u32>`` that came in."""
    return memoryview(given).cast("I").tolist() if as_bytes else given


def s64_in(given: Any) -> List[int]:
    """A ``list<s64>`` that came in."""
    return memoryview(given).cast("q").tolist() if as_bytes else given


def u32_out(numbers: List[int]) -> Any:
    """A ``list<u32>`` that goes out. Raises OverflowError for what is none."""
    return array("I", numbers).tobytes() if as_bytes else numbers


def s64_out(numbers: Optional[List[int]]) -> Any:
    """An optional ``list<s64>`` that goes out. Raises OverflowError for what is none."""
    return array("q", numbers).tobytes() if as_bytes and numbers is not None else numbers
