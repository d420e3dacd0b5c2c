"""Tests of the operator in plain Python: `python3 -m unittest`."""

import unittest

import app
from cofferdam.testing import KeyedHarness, tumbling


class WindowTest(unittest.TestCase):
    def test_counts_in_windows(self) -> None:
        harness = KeyedHarness(app.Window, window=tumbling(10_000))
        harness.send([("a", "", 0), ("a", "", 9_999), ("a", "", 10_000), ("b", "", 5)])
        answer = harness.advance_watermark(9_999)
        self.assertEqual(
            answer.texts(),
            [
                '{"key":"a","window_start":0,"window_end":10000,"count":2}',
                '{"key":"b","window_start":0,"window_end":10000,"count":1}',
            ],
        )
        self.assertEqual([record.timestamp for record in answer.records()], [9_999, 9_999])
        self.assertEqual(harness.end().json()[0]["count"], 1)
        self.assertEqual(harness.states, 0)

    def test_what_is_late_does_not_count(self) -> None:
        harness = KeyedHarness(app.Window, window=tumbling(10_000))
        harness.advance_watermark(20_000)
        self.assertEqual(harness.send([("a", "x", 1)]).late, [b"x"])


if __name__ == "__main__":
    unittest.main()
