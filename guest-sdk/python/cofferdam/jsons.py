"""JSON as records and states have it: no spaces, text as it is, not escaped to ASCII.

The standard library's codec, with its C parts made once instead of for every
call: that is half of the time for small values.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any, Callable, Union

__all__ = ["dumps", "loads", "scan"]


def _default(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    raise TypeError(
        f"{type(value).__name__} cannot be written as JSON: use numbers, text, lists, "
        "dictionaries and dataclasses of them"
    )


_encoder = json.JSONEncoder(
    ensure_ascii=False, check_circular=False, separators=(",", ":"), default=_default
)
_decoder = json.JSONDecoder()
#: The value that begins at an index of a text, and where it ends. Raises ValueError
#: or StopIteration if there is none.
scan: Callable[[str, int], Any] = _decoder.scan_once  # type: ignore[attr-defined]


def _make_dumps() -> Callable[[Any], str]:
    make = getattr(json.encoder, "c_make_encoder", None)
    if make is None:
        return _encoder.encode
    string = json.encoder.encode_basestring
    try:
        encode = make(None, _default, string, None, ":", ",", False, False, True)
        if "".join(encode({"a": [1, "é"]}, 0)) != '{"a":[1,"é"]}':
            return _encoder.encode
    except TypeError:  # A Python whose private parts are others.
        return _encoder.encode

    join = "".join

    def dumps(value: Any) -> str:
        return join(encode(value, 0))

    return dumps


#: The value as JSON text: no spaces, and only what must be is escaped.
#: Dataclasses are objects of their fields.
dumps: Callable[[Any], str] = _make_dumps()


def loads(text: Union[bytes, str]) -> Any:
    """What JSON text (or UTF-8) says. Raises ValueError if it is none."""
    if isinstance(text, bytes):
        text = text.decode()
    try:
        value, end = scan(text, 0)
        if end == len(text):
            return value
    except (StopIteration, ValueError):
        pass
    return json.loads(text)  # Blanks around it, or a mistake, which this names.
