"""A guest for tests: counts by key in its own memory, and has no way to say what it
knows. Answers each batch with one record: its keys and how often each has come."""

from collections import Counter

from wit_world import exports
from wit_world.imports import types


class Processor(exports.Processor):
    def __init__(self):
        pass

    def open(self, ctx):
        pass

    def process(self, input, records):
        seen = []
        keys = records.keys
        for i in range(records.len):
            key = bytes(keys.data[keys.offsets[i] : keys.offsets[i + 1]]).decode()
            COUNTS[key] += 1
            seen.append(f"{key}={COUNTS[key]}")
        HISTORY.append(",".join(seen))
        if len(HISTORY) > 50:
            del HISTORY[:25]
        said = f"{len(COUNTS)} {len(HISTORY)} {','.join(seen)}".encode()
        values = types.Column(said, [0, len(said)])
        emission = types.Emission(0, types.Origin_Fresh(), None, values, None)
        return types.Outcome([emission], [])

    def finish(self):
        return types.Outcome([], [])


COUNTS = Counter()
HISTORY = []
