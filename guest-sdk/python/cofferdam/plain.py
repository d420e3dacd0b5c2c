"""States of plain dataclasses as JSON, by functions that are written for the class.

A state is read and written once for each group of a batch, so a loop over fields,
and the general encoder, would cost more than most operators do. `codec.py` uses
this, and its general way wherever this one finds something else than it expects.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import types
import typing
from typing import Any, Callable, Dict, List, NamedTuple, Optional

from . import jsons

__all__ = ["Plain", "plain"]

# How a value of exactly this type is written into an f-string, and what must hold.
_WRITTEN: Dict[type, typing.Tuple[str, str]] = {
    int: ("{%s}", "%s.__class__ is int"),
    str: ("{text(%s)}", "%s.__class__ is str"),
    bool: ("{'true' if %s else 'false'}", "%s.__class__ is bool"),
    # What is not finite is left to the general way.
    float: ("{%s!r}", "%s.__class__ is float and %s - %s == 0"),
}


class Plain(NamedTuple):
    """The functions of a class."""

    #: The state as JSON; made in the general way, if one of its values is of another
    #: type than its field says.
    encode: Callable[[Any], bytes]
    #: ``(text, begin, end)``: the state that is there. Raises ValueError, KeyError,
    #: TypeError or StopIteration if it is not that of an object of just these fields.
    decode: Callable[[str, int, int], Any]


def plain(cls: Any, otherwise: Callable[[Any], bytes]) -> Optional[Plain]:
    """The functions of a class; None if it is not a dataclass of numbers and text
    with nothing to it that they would not do. ``otherwise`` is the general way."""
    if not (isinstance(cls, type) and dataclasses.is_dataclass(cls)):
        return None
    names = [field.name for field in dataclasses.fields(cls)]
    hints = typing.get_type_hints(cls)
    simple = (
        names
        and not hasattr(cls, "__post_init__")
        and cls.__setattr__ is object.__setattr__  # Not frozen, for one.
        and cls.__new__ is object.__new__
        and all(hints.get(name) in _WRITTEN for name in names)
        and not any(_is_computed(cls, name) for name in names)
    )
    if not simple:
        return None
    return _functions(cls, [(name, hints[name]) for name in names], otherwise)


def _is_computed(cls: type, name: str) -> bool:
    attribute = inspect.getattr_static(cls, name, None)
    return hasattr(type(attribute), "__set__") and not isinstance(
        attribute, types.MemberDescriptorType
    )


def _functions(
    cls: type, fields: List[typing.Tuple[str, Any]], otherwise: Callable[[Any], bytes]
) -> Plain:
    reads, checks, written, assigns = [], [], [], []
    for i, (name, hint) in enumerate(fields):
        value, (form, check) = f"v{i}", _WRITTEN[hint]
        quoted = json.dumps(name, ensure_ascii=False)
        reads.append(f"{value} = state.{name}")
        checks.append(check.replace("%s", value))
        written.append(f"{quoted}:{form % value}")
        assigns.append(f"state.{name} = value[{quoted}]")
    text = "{{" + ",".join(written) + "}}"
    source = f"""
def encode(state):
    {"; ".join(reads)}
    if {" and ".join(checks)}:
        return f'''{text}'''.encode()
    return otherwise(state)

def decode(text, begin, end):
    value, stop = scan(text, begin)
    if stop != end or value.__class__ is not dict or len(value) != {len(fields)}:
        raise ValueError("it has other fields")
    state = new(cls)
    {"; ".join(assigns)}
    return state
"""
    names: Dict[str, Any] = {
        "cls": cls, "new": cls.__new__, "scan": jsons.scan, "otherwise": otherwise,
        "text": json.encoder.encode_basestring,
    }
    exec(compile(source, f"<states of {cls.__name__}>", "exec"), names)
    return Plain(names["encode"], names["decode"])
