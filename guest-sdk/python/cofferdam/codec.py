"""How a state becomes bytes and back. The host keeps the bytes; they outlive this
version of the operator, so choose what later versions can read.

Never `pickle`: what it reads may run anything, and it breaks when a class moves.
"""

from __future__ import annotations

import dataclasses
import struct
import typing
from typing import Any, Callable, Dict, Generic, Optional, Tuple, Type, TypeVar

from . import jsons
from .columns import Column
from .plain import plain

__all__ = ["BytesCodec", "Codec", "IntCodec", "JsonCodec", "StructCodec", "TextCodec", "codec_for"]

S = TypeVar("S")


class Codec(Generic[S]):
    """Makes bytes of a state, and a state of bytes. Empty bytes are "no state" and
    never reach :meth:`decode`; :meth:`encode` must not make them."""

    def encode(self, state: S) -> bytes:
        """The state as bytes."""
        raise NotImplementedError

    def decode(self, data: bytes) -> S:
        """The state of the bytes. Raises ValueError if there is none in them."""
        raise NotImplementedError

    def reader(self, states: Column) -> Callable[[int, int], S]:
        """What reads the state between two offsets of a column, which has those of a
        whole batch. This one decodes a copy of each."""
        data, decode = states.data, self.decode
        return lambda begin, end: decode(data[begin:end])


class JsonCodec(Codec[S]):
    """JSON, the default: dataclasses, dictionaries, lists, numbers, text.

    A dataclass is an object of its fields. Fields that bytes of an older version
    lack take their defaults; unknown ones are a mistake, unless ``ignore_unknown``.
    """

    def __init__(self, cls: Any = None, ignore_unknown: bool = False) -> None:
        self._build: Optional[Callable[[Any], Any]] = _builder(cls, ignore_unknown)
        self._plain = plain(cls, _general)
        if self._plain and type(self).encode is JsonCodec.encode:
            self.encode = self._plain.encode  # type: ignore[method-assign]

    def encode(self, state: S) -> bytes:
        return _general(state)

    def decode(self, data: bytes) -> S:
        state: S = jsons.loads(data)
        return self._build(state) if self._build else state

    def reader(self, states: Column) -> Callable[[int, int], S]:
        data = states.data
        if self._plain is None or not data.isascii():
            return super().reader(states)
        # All of them are one text, in which each is read where it stands.
        text, fast, decode = data.decode(), self._plain.decode, self.decode

        def read(begin: int, end: int) -> Any:
            try:
                return fast(text, begin, end)
            except (ValueError, KeyError, TypeError, StopIteration):
                return decode(data[begin:end])

        return read


def _general(state: Any) -> bytes:
    return jsons.dumps(state).encode()


class BytesCodec(Codec[bytes]):
    """Bytes as they are."""

    def encode(self, state: bytes) -> bytes:
        return bytes(state)

    def decode(self, data: bytes) -> bytes:
        return data


class TextCodec(Codec[str]):
    """Text as UTF-8. The empty text cannot be told from no state."""

    def encode(self, state: str) -> bytes:
        return state.encode()

    def decode(self, data: bytes) -> str:
        return data.decode()


class IntCodec(Codec[int]):
    """A whole number in eight bytes: the fastest state there is."""

    def encode(self, state: int) -> bytes:
        return state.to_bytes(8, "little", signed=True)

    def decode(self, data: bytes) -> int:
        return int.from_bytes(data, "little", signed=True)


class StructCodec(Codec[Any]):
    """A tuple, or a dataclass of as many fields, by a format of :mod:`struct`, such as
    ``"<qd"``: quick and small, and fixed for ever."""

    def __init__(self, format: str, cls: Optional[Callable[..., Any]] = None) -> None:
        self._struct = struct.Struct(format)
        self._cls = cls
        self._names = [f.name for f in dataclasses.fields(cls)] if cls else []  # type: ignore[arg-type]

    def encode(self, state: Any) -> bytes:
        if self._cls:
            return self._struct.pack(*[getattr(state, name) for name in self._names])
        return self._struct.pack(*state)

    def decode(self, data: bytes) -> Any:
        try:
            values: Tuple[Any, ...] = self._struct.unpack(data)
        except struct.error as error:
            raise ValueError(str(error)) from None
        return self._cls(*values) if self._cls else values


def codec_for(cls: Any) -> Codec[Any]:
    """The codec of a state's type, if the operator names none."""
    return BytesCodec() if cls is bytes else JsonCodec(None if cls is Any else cls)


def _builder(cls: Any, ignore_unknown: bool) -> Optional[Callable[[Any], Any]]:
    """What turns parsed JSON into a type; None where nothing is to be done."""
    if cls is None or isinstance(cls, TypeVar):
        return None
    if isinstance(cls, type) and dataclasses.is_dataclass(cls):
        return _dataclass_builder(cls, ignore_unknown)
    origin, args = typing.get_origin(cls), typing.get_args(cls)
    inner = next((b for b in (_builder(a, ignore_unknown) for a in args) if b), None)
    if inner is None:
        return tuple if origin is tuple else set if origin is set else None
    if origin is dict:
        return lambda value: {k: inner(v) for k, v in value.items()}
    if origin in (list, tuple, set):
        return lambda value: origin(inner(v) for v in value)
    # Optional[X]
    return lambda value: None if value is None else inner(value)


def _dataclass_builder(cls: Type[Any], ignore_unknown: bool) -> Callable[[Any], Any]:
    hints = typing.get_type_hints(cls)
    names = {f.name for f in dataclasses.fields(cls)}
    builders: Dict[str, Callable[[Any], Any]] = {}
    for name in names:
        builder = _builder(hints.get(name), ignore_unknown)
        if builder:
            builders[name] = builder

    def build(value: Any) -> Any:
        if not isinstance(value, dict):
            raise ValueError(f"it is no {cls.__name__}: {value!r}")
        for name, builder in builders.items():
            if name in value:
                value[name] = builder(value[name])
        try:
            return cls(**value)
        except TypeError as error:
            if ignore_unknown:
                return cls(**{k: v for k, v in value.items() if k in names})
            raise ValueError(f"it is no {cls.__name__}: {error}") from None

    return build
