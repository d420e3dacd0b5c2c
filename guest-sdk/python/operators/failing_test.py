"""Tests of the operator in plain Python: `python3 -m unittest`."""

import unittest

import app
from cofferdam import OperatorError
from cofferdam.testing import ProcessorHarness


class FailingTest(unittest.TestCase):
    def test_fails_as_it_is_told_to(self) -> None:
        harness = ProcessorHarness(app.Failing)
        self.assertEqual(harness.send(["fine"]).texts(), ["fine"])
        with self.assertRaisesRegex(RuntimeError, "boom: told to panic"):
            harness.send(["fine", "panic"])
        with self.assertRaisesRegex(OperatorError, "told to fail"):
            harness.send(["error"])


if __name__ == "__main__":
    unittest.main()
