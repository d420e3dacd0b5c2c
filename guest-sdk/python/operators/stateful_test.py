"""Tests of the operator in plain Python: `python3 -m unittest`."""

import unittest

import app
from cofferdam.testing import ProcessorHarness


class StatefulTest(unittest.TestCase):
    def test_goes_on_after_a_restart(self) -> None:
        harness = ProcessorHarness(app.Stateful)
        self.assertEqual(harness.send(["ab", "", "€"]).texts(), ["2", "2", "5"])
        self.assertEqual(harness.restarted().send(["x"]).texts(), ["6"])


if __name__ == "__main__":
    unittest.main()
