"""Tests of the operator in plain Python: `python3 -m unittest`."""

import unittest

import app
from cofferdam import ConfigError
from cofferdam.testing import ProcessorHarness


class FilterTest(unittest.TestCase):
    def test_keeps_what_contains_the_text(self) -> None:
        harness = ProcessorHarness(app.Filter, config={"contains": "WARN"})
        answer = harness.send(["a WARN b", "all well", "", "WARN", "warn", "x WAR", "N y"])
        self.assertEqual(answer.texts(), ["a WARN b", "WARN"])

    def test_looks_for_errors_if_nothing_is_said(self) -> None:
        answer = ProcessorHarness(app.Filter).send(["an error", "fine"])
        self.assertEqual(answer.texts(), ["an error"])

    def test_refuses_a_number_in_its_config(self) -> None:
        with self.assertRaisesRegex(ConfigError, "contains is 7, and must be a text"):
            ProcessorHarness(app.Filter, config={"contains": 7})


if __name__ == "__main__":
    unittest.main()
