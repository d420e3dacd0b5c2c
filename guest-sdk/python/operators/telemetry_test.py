"""Tests of the operator in plain Python: `python3 -m unittest`."""

import unittest

import app
from cofferdam import ConfigError
from cofferdam.testing import ProcessorHarness


class TelemetryTest(unittest.TestCase):
    def test_says_and_measures_what_goes_by(self) -> None:
        harness = ProcessorHarness(app.Telemetry, config={"greeting": "hello"})
        harness.send(["a", "bcd"])
        self.assertEqual(harness.send(["", "ef"]).texts(), ["", "ef"])
        self.assertEqual(
            harness.logs,
            [("info", "hello, subtask 0 of 1"), ("debug", "record 2: bcd"), ("debug", "record 4: ef")],
        )
        self.assertEqual(harness.counters, {"records": 4})
        self.assertEqual(harness.gauges, {"last_value_bytes": 2})
        self.assertEqual(harness.histograms, {"value_bytes": [1, 3, 0, 2]})

    def test_wants_a_greeting(self) -> None:
        with self.assertRaisesRegex(ConfigError, "config: greeting is missing"):
            ProcessorHarness(app.Telemetry)


if __name__ == "__main__":
    unittest.main()
