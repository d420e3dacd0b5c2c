"""Tests of the operator in plain Python: `python3 -m unittest`."""

import unittest

import app
from cofferdam.testing import KeyedHarness


class TimerTest(unittest.TestCase):
    def test_tells_who_went_quiet(self) -> None:
        harness = KeyedHarness(app.Timer, config={"timeout_ms": 1_000})
        harness.send([("a", "", 0), ("a", "", 500)])
        harness.send([("a", "", 900)])
        self.assertEqual(harness.timers, [("a", "event", 1_900)])
        self.assertEqual(harness.advance_watermark(1_899).records(), [])
        answer = harness.advance_watermark(1_900)
        self.assertEqual(answer.texts(), ['{"key":"a","idle_since":900,"records":3}'])
        self.assertEqual(answer.records()[0].timestamp, 1_900)
        self.assertEqual(harness.states, 0)

    def test_refuses_what_has_no_time(self) -> None:
        answer = KeyedHarness(app.Timer).send([("a", "x")])
        self.assertEqual(answer.reasons(), ["the record has no event time"])


if __name__ == "__main__":
    unittest.main()
