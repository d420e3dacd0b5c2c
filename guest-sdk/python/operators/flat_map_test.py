"""Tests of the operator in plain Python: `python3 -m unittest`."""

import unittest

import app
from cofferdam.testing import Output, ProcessorHarness


class FlatMapTest(unittest.TestCase):
    def test_a_record_for_every_word(self) -> None:
        answer = ProcessorHarness(app.FlatMap).send([("line", "  The quick   Ähre ", 7)])
        self.assertEqual(
            answer.records(),
            [
                Output(b"the", b"The", 7),
                Output(b"quick", b"quick", 7),
                Output("Ähre".encode(), "Ähre".encode(), 7),
            ],
        )

    def test_no_words_no_records(self) -> None:
        self.assertEqual(ProcessorHarness(app.FlatMap).send(["", "   "]).records(), [])


if __name__ == "__main__":
    unittest.main()
