"""Tests of the operator in plain Python: `python3 -m unittest`."""

import unittest

import app
from cofferdam.testing import Output, ProcessorHarness


class MapTest(unittest.TestCase):
    def test_hides_digits_and_keeps_key_and_time(self) -> None:
        answer = ProcessorHarness(app.Map).send([("k1", "card 4711-0815 €2", 5), ("k2", "", 6)])
        self.assertEqual(
            answer.records(),
            [Output(b"k1", "card ####-#### €#".encode(), 5), Output(b"k2", b"", 6)],
        )


if __name__ == "__main__":
    unittest.main()
