"""Tests of the operator in plain Python: `python3 -m unittest`."""

import unittest

import app
from cofferdam.testing import KeyedHarness


class KeyedTest(unittest.TestCase):
    def test_counts_by_key_over_batches(self) -> None:
        harness = KeyedHarness(app.Keyed)
        harness.send([("a", "", 1), ("b", "", 2)])
        answer = harness.send([("a", "", 3), ("a", "", 4)])
        self.assertEqual(answer.texts(), ['{"key":"a","count":2}', '{"key":"a","count":3}'])
        self.assertEqual([record.timestamp for record in answer.records()], [3, 4])
        self.assertEqual(harness.state("a"), app.Count(3))
        self.assertEqual(harness.state("b"), app.Count(1))

    def test_refuses_a_key_that_is_no_text(self) -> None:
        harness = KeyedHarness(app.Keyed)
        answer = harness.send([(b"\xff", "x", 1)])
        self.assertEqual(answer.reasons(), ["the key is not UTF-8"])
        self.assertEqual(harness.states, 0)


if __name__ == "__main__":
    unittest.main()
