"""What an operator is told when it is opened: who it is, and its configuration."""

from __future__ import annotations

import dataclasses
import typing
from typing import Any, Dict, Iterator, Mapping, Optional, Type, TypeVar

from .errors import ConfigError

__all__ = ["Config", "Context"]

T = TypeVar("T")
_REQUIRED: Any = object()


class Config(Mapping[str, Any]):
    """The operator's ``config`` table of the job file: a mapping of text, numbers,
    lists and tables.

    ``config["x"]`` of what is not there, and a value of the wrong type, raise
    :class:`ConfigError`, which stops the job with a message.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = dict(values)

    def __getitem__(self, key: str) -> Any:
        try:
            return self._values[key]
        except KeyError:
            raise ConfigError(f"config: {key} is missing") from None

    def __contains__(self, key: object) -> bool:
        return key in self._values

    def get(self, key: str, default: Any = None) -> Any:
        """The value, or the default."""
        return self._values.get(key, default)

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def text(self, key: str, default: str = _REQUIRED) -> str:
        """A text; required if no default is given."""
        text: str = self._typed(key, default, str, "a text")
        return text

    def integer(self, key: str, default: int = _REQUIRED) -> int:
        """A whole number; required if no default is given."""
        number: int = self._typed(key, default, int, "a whole number")
        return number

    def number(self, key: str, default: float = _REQUIRED) -> float:
        """A number; required if no default is given."""
        return float(self._typed(key, default, (int, float), "a number"))

    def flag(self, key: str, default: bool = _REQUIRED) -> bool:
        """True or false; required if no default is given."""
        flag: bool = self._typed(key, default, bool, "true or false")
        return flag

    def load(self, cls: Type[T]) -> T:
        """All of it as a dataclass: a key for each field. A field without a default
        is required, an unknown key is a mistake, and text, numbers and booleans are
        checked."""
        fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
        for key in self._values:
            if key not in fields:
                raise ConfigError(f"config: {key} is unknown; known are {', '.join(fields)}")
        hints = typing.get_type_hints(cls)
        given: Dict[str, Any] = {}
        for name, field in fields.items():
            if name in self._values:
                kind = _KINDS.get(hints.get(name))
                given[name] = self._typed(name, _REQUIRED, *kind) if kind else self[name]
                if hints.get(name) is float:
                    given[name] = float(given[name])
            elif (
                field.default is dataclasses.MISSING
                and field.default_factory is dataclasses.MISSING
            ):
                raise ConfigError(f"config: {name} is missing")
        return cls(**given)

    def _typed(self, key: str, default: Any, kind: Any, called: str) -> Any:
        if key not in self._values and default is not _REQUIRED:
            return default
        value = self[key]
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise ConfigError(f"config: {key} is {value!r}, and must be {called}")
        return value

    def __repr__(self) -> str:
        return f"Config({self._values!r})"


_KINDS: Dict[Any, Any] = {
    str: (str, "a text"),
    int: (int, "a whole number"),
    float: ((int, float), "a number"),
    bool: (bool, "true or false"),
}


@dataclasses.dataclass(frozen=True)
class Context:
    """Who the operator is, in the job that runs it."""

    #: Its name in the job.
    operator: str
    #: Which of its parallel instances this is, from 0.
    subtask: int
    #: How many parallel instances it has.
    parallelism: int
    #: How many inputs are connected.
    inputs: int
    #: How many output ports the job has given names to.
    outputs: int
    #: Its configuration.
    config: Config

    @classmethod
    def for_test(cls, config: Optional[Mapping[str, Any]] = None) -> "Context":
        """The context of a lone operator named ``test``."""
        return cls("test", 0, 1, 1, 1, Config(config or {}))
