"""Tests of the operator in plain Python: `python3 -m unittest`."""

import unittest

import app
from cofferdam.testing import KeyedHarness, sessions


class SessionTest(unittest.TestCase):
    def test_a_record_between_two_sessions_makes_them_one(self) -> None:
        harness = KeyedHarness(app.Session, window=sessions(1_000))
        harness.send([("a", "1", 0), ("a", "10", 1_800)])
        self.assertEqual(harness.states, 2)
        harness.send([("a", "100", 900)])
        self.assertEqual(harness.states, 1)
        self.assertEqual(harness.end().texts(), ['{"key":"a","sum":111,"count":3}'])

    def test_refuses_what_is_no_number(self) -> None:
        harness = KeyedHarness(app.Session, window=sessions(1_000))
        answer = harness.send([("a", "1.5", 0), ("a", "-2", 1), ("a", "", 2)])
        self.assertEqual(answer.reasons(), ["not a number", "not a number"])
        self.assertEqual(harness.end().texts(), ['{"key":"a","sum":-2,"count":1}'])


if __name__ == "__main__":
    unittest.main()
