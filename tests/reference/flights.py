#!/usr/bin/env python3
"""What the flights example must find, computed another way.

Reads the same CSV file (plain or gzip) and prints JSON Lines, sorted, for a test
to compare with what `examples/flights/job.toml` wrote. It shares nothing with
Cofferdam: whole groups are held in memory and looked at when all rows are read,
so that neither the order of rows nor watermarks nor parallelism play a part.

    python3 tests/reference/flights.py examples/flights/flights-2013-01.csv.gz

Lines, told apart by `kind`:
  carrier-window  departure delay of a carrier in a 6-hour window of event time
                  (the scheduled hour, UTC): count, sum, min, max, mean, and exact
                  quantiles by nearest rank (the value at rank ceil(q * count)),
                  each with the values of the ranks before and after it
  worst-carrier   the carriers with the greatest mean delay of a day (UTC), from
                  rank 1; those of equal mean in order of their code
  cancelled       how many flights have no departure delay
  departed        how many have one

Numbers are exact: sums are of integers, and a mean is the nearest binary
floating-point number to sum / count.

Python 3.9 or later, standard library only.
"""

import argparse
import csv
import gzip
import io
import json
import math
from collections import defaultdict
from datetime import datetime, timedelta, timezone

QUANTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def rows(path):
    """The rows of a CSV file as dictionaries; gzip is told by its first bytes."""
    with open(path, "rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    with (gzip.open if packed else open)(path, "rb") as file:
        yield from csv.DictReader(io.TextIOWrapper(file, encoding="utf-8", newline=""))


def window_start(time, hours):
    """The start of the window of so many hours, counted from 1970, that holds `time`."""
    return time - (time - EPOCH) % timedelta(hours=hours)


def rfc3339(time):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def quantile(ordered, q):
    """By nearest rank, exactly: no rank is computed in floating point. With the
    values of the neighbouring ranks, between which an approximation may fall."""
    rank = max(-(-round(q * 100) * len(ordered) // 100), 1)
    around = [ordered[max(rank - 2, 0)], ordered[min(rank, len(ordered) - 1)]]
    return ordered[rank - 1], around


def stats(delays):
    ordered = sorted(delays)
    total = sum(ordered)
    found = {
        "count": len(ordered),
        "sum": total,
        "min": ordered[0],
        "max": ordered[-1],
        "mean": total / len(ordered),
    }
    for name, q in QUANTILES.items():
        found[name], found[name + "_between"] = quantile(ordered, q)
    assert math.isfinite(found["mean"])
    return found


def main():
    arguments = argparse.ArgumentParser(description="What the flights example must find.")
    arguments.add_argument("file", help="the CSV file, plain or gzip")
    arguments.add_argument("--hours", type=int, default=6, help="length of a carrier's window")
    arguments.add_argument("--top", type=int, default=3, help="how many worst carriers a day")
    arguments = arguments.parse_args()

    cancelled = departed = 0
    windows, days = defaultdict(list), defaultdict(list)
    for row in rows(arguments.file):
        if row["dep_delay"] == "NA":
            cancelled += 1
            continue
        departed += 1
        delay = int(row["dep_delay"])
        time = datetime.strptime(row["time_hour"], "%Y-%m-%dT%H:%M:%SZ")
        time = time.replace(tzinfo=timezone.utc)
        windows[row["carrier"], window_start(time, arguments.hours)].append(delay)
        days[window_start(time, 24), row["carrier"]].append(delay)

    lines = [{"kind": "cancelled", "count": cancelled}, {"kind": "departed", "count": departed}]
    for (carrier, start), delays in windows.items():
        end = start + timedelta(hours=arguments.hours)
        lines.append(
            {
                "kind": "carrier-window",
                "carrier": carrier,
                "window_start": rfc3339(start),
                "window_end": rfc3339(end),
                **stats(delays),
            }
        )
    by_day = defaultdict(list)
    for (day, carrier), delays in days.items():
        by_day[day].append((-sum(delays) / len(delays), carrier, len(delays)))
    for day, carriers in by_day.items():
        for rank, (negated, carrier, count) in enumerate(sorted(carriers)[: arguments.top], 1):
            lines.append(
                {
                    "kind": "worst-carrier",
                    "window_start": rfc3339(day),
                    "window_end": rfc3339(day + timedelta(days=1)),
                    "rank": rank,
                    "carrier": carrier,
                    "mean": -negated,
                    "count": count,
                }
            )
    order = ("kind", "window_start", "rank", "carrier")
    lines.sort(key=lambda line: [str(line.get(name, "")) for name in order])
    for line in lines:
        print(json.dumps(line))


if __name__ == "__main__":
    main()
