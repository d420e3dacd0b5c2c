"""Tests of the operator in plain Python: `python3 -m unittest`."""

import unittest

import app
from cofferdam.testing import ProcessorHarness


class RouteTest(unittest.TestCase):
    def test_sends_each_record_its_way(self) -> None:
        answer = ProcessorHarness(app.Route).send(['{"a":1}', "plain", "", " {", "{"])
        self.assertEqual(answer.texts(0), ['{"a":1}', "{"])
        self.assertEqual(answer.texts(1), ["plain", " {"])
        self.assertEqual(answer.reasons(), ["the value is empty"])


if __name__ == "__main__":
    unittest.main()
