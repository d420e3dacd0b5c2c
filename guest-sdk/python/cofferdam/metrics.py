"""The operator's own metrics. The host adds tenant, job, operator and subtask.

::

    from cofferdam import metrics

    metrics.counter("records").add(len(batch))
    metrics.gauge("queue").set(3)
    metrics.histogram("value_bytes").record(len(record.value))
"""

from __future__ import annotations

from . import platform

__all__ = ["Counter", "Gauge", "Histogram", "counter", "gauge", "histogram"]


class Counter:
    """Counts up."""

    def __init__(self, name: str) -> None:
        self.name = name

    def add(self, delta: int = 1) -> None:
        """Adds to it; not less than 0."""
        if delta < 0:
            raise ValueError(f"the counter {self.name} cannot go down by {-delta}")
        platform.current.counter_add(self.name, delta)


class Gauge:
    """A number that goes up and down."""

    def __init__(self, name: str) -> None:
        self.name = name

    def set(self, value: float) -> None:
        """Sets it."""
        platform.current.gauge_set(self.name, float(value))


class Histogram:
    """Observations, of which the host keeps count, sum and distribution."""

    def __init__(self, name: str) -> None:
        self.name = name

    def record(self, value: float) -> None:
        """Adds one observation."""
        platform.current.histogram_record(self.name, float(value))


def counter(name: str) -> Counter:
    """The counter of this name."""
    return Counter(name)


def gauge(name: str) -> Gauge:
    """The gauge of this name."""
    return Gauge(name)


def histogram(name: str) -> Histogram:
    """The histogram of this name."""
    return Histogram(name)
