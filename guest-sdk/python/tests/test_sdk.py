"""Tests of the SDK in plain Python: `python3 -m unittest discover -s tests`."""

import dataclasses
import importlib
import logging
import sys
import unittest
from pathlib import Path
from typing import Dict, List, Optional
from unittest import mock

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from cofferdam import (  # noqa: E402
    Batch, BytesCodec, Column, Config, ConfigError, Firing, Group, IntCodec, JsonCodec, KeyedOperator,
    OperatorError, Out, Processor, Record, Reject, StructCodec, metrics, operator,
)
from cofferdam import crash, jsons, numbers, plain  # noqa: E402
from cofferdam.testing import KeyedHarness, Output, ProcessorHarness, sessions, sliding  # noqa: E402


class Columns(unittest.TestCase):
    def test_entries_are_read_by_index_in_order_and_as_views(self) -> None:
        column = Column.of(["a", "", "bcd"])
        self.assertEqual(list(column), [b"a", b"", b"bcd"])
        self.assertEqual((column[0], column[-1], len(column)), (b"a", b"bcd", 3))
        self.assertEqual(bytes(column.view(2)), b"bcd")
        with self.assertRaises(IndexError):
            column[3]

    def test_an_absent_column_reads_as_empty(self) -> None:
        batch = Batch(2, Column(b"", []), Column.of(["x", "y"]), [])
        self.assertEqual(list(batch.keys), [b"", b""])
        self.assertFalse(batch.keys.present)
        self.assertEqual([(r.key, r.timestamp) for r in batch], [(b"", None), (b"", None)])

    def test_containing_is_what_a_loop_would_find(self) -> None:
        entries = ["ab", "", "bc", "abc", "xxab", "b", "aab", "a", "b"]
        column = Column.of(entries)
        for needle in ["ab", "b", "abc", "ba", "", "xxab", "z", "abb"]:
            self.assertEqual(
                column.containing(needle), [i for i, e in enumerate(entries) if needle in e], needle
            )

    def test_a_batch_knows_which_record_is_in_hand(self) -> None:
        batch = Batch(2, Column(b"", []), Column.of(["x", "y"]), [])
        seen = [batch.in_hand for _ in batch]
        self.assertEqual((seen, batch.in_hand), ([0, 1], -1))


class Answers(unittest.TestCase):
    def test_records_of_a_port_keep_their_order_however_they_are_emitted(self) -> None:
        @operator
        def mixed(record: Record, out: Out) -> None:
            if record.value == b"keep":
                out.keep(record)
            elif record.value == b"fresh":
                out.emit("new")
            else:
                out.emit("other", of=record, key="k", timestamp=7, port=0)

        answer = ProcessorHarness(mixed).send([("a", "keep", 1), ("b", "x", 2), ("c", "fresh", 3), ("d", "keep", 4)])
        self.assertEqual(
            answer.records(),
            [
                Output(b"a", b"keep", 1), Output(b"k", b"other", 7), Output(b"", b"new", None),
                Output(b"d", b"keep", 4),
            ],
        )

    def test_a_function_of_a_batch_is_an_operator(self) -> None:
        @operator
        def all_at_once(batch: Batch, out: Out) -> None:
            out.same(values=[v.upper() for v in batch.values])
            out.emit_all(["x", "y"], of=[1, 0], port=1)
            out.keep_batch(port=2)

        answer = ProcessorHarness(all_at_once).send([("a", "p", 1), ("b", "q", 2)])
        self.assertEqual(answer.texts(), ["P", "Q"])
        self.assertEqual(answer.records(1), [Output(b"b", b"x", 2), Output(b"a", b"y", 1)])
        self.assertEqual(answer.texts(2), ["p", "q"])

    def test_columns_of_the_wrong_length_and_wrong_indexes_are_refused(self) -> None:
        @operator
        def too_short(batch: Batch, out: Out) -> None:
            out.same(values=["x"])

        with self.assertRaisesRegex(ValueError, "1 entries for a batch of 2"):
            ProcessorHarness(too_short).send(["a", "b"])

        @operator
        def wild(batch: Batch, out: Out) -> None:
            out.keep(5)

        with self.assertRaisesRegex(OperatorError, "index 5 is out of range: there are 2"):
            ProcessorHarness(wild).send(["a", "b"])

    def test_what_cannot_be_read_is_rejected_with_the_reason(self) -> None:
        @operator
        def reads(record: Record, out: Out) -> None:
            out.emit(str(record.json()), of=record)

        answer = ProcessorHarness(reads).send(["1", "{", b"\xff"])
        self.assertEqual(answer.texts(), ["1"])
        self.assertTrue(answer.reasons()[0].startswith("the value is not JSON: "), answer.reasons())
        self.assertEqual(len(answer.rejected), 2)


@dataclasses.dataclass
class Inner:
    x: int = 0


@dataclasses.dataclass
class Outer:
    name: str
    inner: Inner
    many: List[Inner] = dataclasses.field(default_factory=list)
    by: Dict[str, Inner] = dataclasses.field(default_factory=dict)
    perhaps: Optional[Inner] = None


@dataclasses.dataclass
class Plain:
    a: int
    b: str = "x"


@dataclasses.dataclass
class Several:
    n: int
    text: str
    f: float
    flag: bool


class Codecs(unittest.TestCase):
    def test_states_come_back_as_they_were(self) -> None:
        outer = Outer("ü", Inner(1), [Inner(2)], {"k": Inner(3)}, Inner(4))
        for codec, state in [
            (JsonCodec(Outer), outer),
            (JsonCodec(Outer), Outer("n", Inner())),
            (JsonCodec(Plain), Plain(7, "é")),
            (JsonCodec(), {"a": [1, None, 2.5]}),
            (IntCodec(), -5),
            (BytesCodec(), b"\x00\xff"),
            (StructCodec("<qd"), (1, 2.5)),
            (StructCodec("<q4s", Plain), Plain(3, b"abcd")),  # type: ignore[arg-type]
        ]:
            with self.subTest(state=state):
                self.assertEqual(codec.decode(codec.encode(state)), state)  # type: ignore[attr-defined]

    def test_a_field_that_came_later_takes_its_default(self) -> None:
        self.assertEqual(JsonCodec(Plain).decode(b'{"a":1}'), Plain(1, "x"))
        with self.assertRaisesRegex(ValueError, "it is no Plain"):
            JsonCodec(Plain).decode(b'{"a":1,"c":2}')
        with self.assertRaisesRegex(ValueError, "it is no Plain: 7"):
            JsonCodec(Plain).decode(b"7")
        self.assertEqual(JsonCodec(Plain, ignore_unknown=True).decode(b'{"a":1,"c":2}'), Plain(1, "x"))

    def test_functions_of_a_class_do_as_the_general_way_does(self) -> None:
        codec = JsonCodec(Several)
        whole, text, number, flag = (
            [0, -5, 10**30, True, None, 1.5, "7"],
            ["", "é\n\"\\{}%", "\u2028", 3, None],
            [0.0, -1.5e300, float("inf"), float("nan"), 2, "x"],
            [True, False, 1, None],
        )
        states = [
            Several(n, t, f, b)  # type: ignore[arg-type]
            for n in whole for t in text for f in number for b in flag
        ]
        for state in states:
            self.assertEqual(codec.encode(state), jsons.dumps(state).encode(), state)
        column = Column.of([codec.encode(state) for state in states])
        ascii_only = Column.of([data for data in column if data.isascii()])
        for states_of in column, ascii_only:
            read = codec.reader(states_of)
            for data, begin, end in zip(states_of, states_of.offsets, states_of.offsets[1:]):
                self.assertEqual(repr(read(begin, end)), repr(codec.decode(data)))

    def test_states_that_stand_in_a_row_are_read_each_by_itself(self) -> None:
        codec = JsonCodec(Plain)
        states = Column.of(['{"a":1,"b":"y"}', '{"a":2}', ' {"b":"z","a":3} ', '{"a":4', '{"c":5}', "5"])
        read = codec.reader(states)
        bounds = list(zip(states.offsets, states.offsets[1:]))
        self.assertEqual([read(*at) for at in bounds[:3]], [Plain(1, "y"), Plain(2), Plain(3, "z")])
        for at in bounds[3:]:
            with self.assertRaises(ValueError):
                read(*at)

    def test_a_class_that_does_more_has_no_functions_of_its_own(self) -> None:
        @dataclasses.dataclass(frozen=True)
        class Frozen:
            a: int = 0

        @dataclasses.dataclass
        class Doubles:
            a: int = 0

            def __post_init__(self) -> None:
                self.a *= 2

        self.assertIsNotNone(plain.plain(Plain, bytes))
        for cls in Frozen, Doubles, Outer, int, None:
            self.assertIsNone(plain.plain(cls, bytes), cls)
        codec = JsonCodec(Frozen)
        self.assertEqual(codec.decode(codec.encode(Frozen(3))), Frozen(3))
        self.assertEqual(JsonCodec(Doubles).decode(b'{"a":4}'), Doubles(4))

    def test_numbers_cross_as_the_bytes_that_they_are(self) -> None:
        with mock.patch.object(numbers, "as_bytes", True):
            self.assertEqual(numbers.u32_out([1, 2**32 - 1]), b"\1\0\0\0\xff\xff\xff\xff")
            self.assertEqual(numbers.u32_in(numbers.u32_out([0, 7])), [0, 7])
            self.assertEqual(numbers.s64_in(numbers.s64_out([-1, 2**62])), [-1, 2**62])
            self.assertEqual((numbers.u32_in(b""), numbers.s64_out(None)), ([], None))
            for wrong in -1, 2**32:
                with self.assertRaises(OverflowError):
                    numbers.u32_out([wrong])
        self.assertEqual((numbers.u32_in([7]), numbers.s64_out([7])), ([7], [7]))

    def test_json_has_no_spaces_and_escapes_what_it_must(self) -> None:
        self.assertEqual(jsons.dumps({"k": ["ü\n\x1f\"", 1.5, None]}), '{"k":["ü\\n\\u001f\\"",1.5,null]}')
        self.assertEqual(jsons.dumps(Outer("n", Inner(1)))[:30], '{"name":"n","inner":{"x":1},"m')
        with self.assertRaisesRegex(TypeError, "bytes cannot be written as JSON"):
            jsons.dumps(b"x")


class Keyed(unittest.TestCase):
    def test_a_state_is_written_only_if_it_changed(self) -> None:
        class Looks(KeyedOperator[Plain]):
            def fold(self, group: Group[Plain], out: Out) -> None:
                state = group.state_or(Plain(0))
                if group.key == b"grows":
                    state.a += 1
                elif group.key == b"goes":
                    del group.state

        harness = KeyedHarness(Looks)
        harness.send([("grows", "", 0), ("goes", "", 0), ("stays", "", 0)])
        self.assertEqual((harness.state("grows"), harness.state("goes")), (Plain(1), None))
        self.assertEqual(harness.state("stays"), Plain(0))
        harness.send([("grows", "", 0)])
        self.assertEqual(harness.state("grows"), Plain(2))

    def test_the_last_word_on_a_timer_counts(self) -> None:
        class Timers(KeyedOperator[int]):
            def fold(self, group: Group[int], out: Out) -> None:
                group.set_timer(10)
                group.delete_timer(10)
                group.delete_timer(20)
                group.set_timer(20)
                group.set_timer(5, kind="processing")

            def fire(self, group: Group[int], firing: Firing, out: Out) -> None:
                out.emit(f"{firing.kind} {firing.time}", of=firing)

        harness = KeyedHarness(Timers)
        harness.send([("k", "", 0)])
        self.assertEqual(harness.timers, [("k", "processing", 5), ("k", "event", 20)])
        self.assertEqual(harness.advance_time(5).texts(), ["processing 5"])
        self.assertEqual(harness.end().texts(), ["event 20"])

    def test_a_reject_of_a_group_leaves_its_state(self) -> None:
        class Refuses(KeyedOperator[int]):
            def fold(self, group: Group[int], out: Out) -> None:
                group.state = 7
                raise Reject("no")

        harness = KeyedHarness(Refuses)
        self.assertEqual(harness.send([("k", "a", 0), ("k", "b", 0)]).reasons(), ["no", "no"])
        self.assertEqual(harness.states, 0)

    def test_a_state_that_cannot_be_read_names_its_key(self) -> None:
        class Old(KeyedOperator[bytes]):
            def fold(self, group: Group[bytes], out: Out) -> None:
                group.state = b"no json"

        class New(KeyedOperator[Plain]):
            def fold(self, group: Group[Plain], out: Out) -> None:
                group.state_or(Plain(0))

        harness = KeyedHarness(Old)
        harness.send([("ada", "", 0)])
        harness.operator = New()
        with self.assertRaisesRegex(OperatorError, "the state of key 'ada' cannot be read"):
            harness.send([("ada", "", 0)])

    def test_sliding_windows_overlap_and_late_records_fire_again(self) -> None:
        class Count(KeyedOperator[int]):
            def fold(self, group: Group[int], out: Out) -> None:
                group.state = (group.state or 0) + len(group)

            def fire(self, group: Group[int], firing: Firing, out: Out) -> None:
                assert group.window
                out.emit(f"{group.window.start}:{group.state}", of=firing)

        harness = KeyedHarness(Count, window=sliding(10, 5), allowed_lateness=100)
        harness.send([("k", "", 7)])
        self.assertEqual(harness.advance_watermark(20).texts(), ["0:1", "5:1"])
        self.assertEqual(harness.send([("k", "", 8)]).texts(), ["0:2", "5:2"])

    def test_sessions_need_merge(self) -> None:
        class NoMerge(KeyedOperator[int]):
            def fold(self, group: Group[int], out: Out) -> None:
                group.state = 1

        harness = KeyedHarness(NoMerge, window=sessions(10))
        harness.send([("k", "", 0), ("k", "", 15)])
        with self.assertRaisesRegex(NotImplementedError, "NoMerge has no `merge`"):
            harness.send([("k", "", 8)])


class Telling(unittest.TestCase):
    def test_a_configuration_says_what_is_wrong(self) -> None:
        @dataclasses.dataclass
        class Settings:
            rate: float
            name: str = "n"

        # Types are looked up where the class is; here that is a function.
        with mock.patch("typing.get_type_hints", return_value={"rate": float, "name": str}):
            self.assertEqual(Config({"rate": 2}).load(Settings), Settings(2.0))
            for values, said in [
                ({}, "config: rate is missing"),
                ({"rate": "x"}, "config: rate is 'x', and must be a number"),
                ({"rate": 1, "nmae": "x"}, "config: nmae is unknown; known are rate, name"),
            ]:
                with self.assertRaisesRegex(ConfigError, said):
                    Config(values).load(Settings)
        with self.assertRaisesRegex(ConfigError, "config: n is True, and must be a whole number"):
            Config({"n": True}).integer("n")
        self.assertEqual(Config({}).get("x", 3), 3)

    def test_a_crash_is_told_with_its_lines_and_the_record_in_hand(self) -> None:
        class Divides(Processor):
            def process_record(self, record: Record, out: Out) -> None:
                1 / len(record.value)

        batch = Batch(2, Column.of(["k", "l"]), Column.of(["x", ""]), [1, 2])
        try:
            Divides().process(batch, Out(2))
        except ZeroDivisionError as error:
            told = crash.describe_crash(error, batch)
        lines = told.splitlines()
        self.assertEqual(lines[0], "Traceback (most recent call last):")
        self.assertIn("in process_record", told)
        self.assertIn("1 / len(record.value)", told)
        self.assertIn("ZeroDivisionError: division by zero", told)
        self.assertEqual(lines[-1], "  in hand: record 1 of the batch's 2, key 'l', time 2, value ''")

    def test_a_crash_without_a_record_tells_the_key(self) -> None:
        class Crashes(KeyedOperator[int]):
            def fold(self, group: Group[int], out: Out) -> None:
                group.set_timer(5)
                if group.key == b"bad":
                    raise KeyError("in fold")

            def fire(self, group: Group[int], firing: Firing, out: Out) -> None:
                raise KeyError("in fire")

        harness = KeyedHarness(Crashes)
        harness.send([("ada", "", 0)])
        for call in lambda: harness.advance_watermark(9), lambda: harness.send([("bad", "", 0)]):
            with self.assertRaises(KeyError) as raised:
                call()
            if sys.version_info >= (3, 11):
                key = "ada" if "fire" in str(raised.exception) else "bad"
                self.assertIn(f"\n  in hand: key '{key}'", crash.describe_crash(raised.exception, None))

    def test_what_is_logged_in_a_test_is_the_harness_s_alone(self) -> None:
        @operator
        def logs(record: Record, out: Out) -> None:
            logging.getLogger("x").warning("w %s", record.text)
            metrics.counter("n").add()

        harness = ProcessorHarness(logs)
        harness.send(["a"])
        self.assertEqual((harness.logs, harness.counters), ([("warning", "w a")], {"n": 1}))
        handlers = logging.getLogger().handlers
        self.assertFalse([h for h in handlers if type(h).__name__ == "LogHandler"])


def load_tests(loader: unittest.TestLoader, suite: unittest.TestSuite, _: Optional[str]) -> unittest.TestSuite:
    """The tests of the operators, too: each imports its operator as `app`."""
    folder = HERE.parent / "operators"
    sys.path.insert(0, str(folder))
    for path in sorted(folder.glob("*_test.py")):
        sys.modules["app"] = importlib.import_module(path.stem[: -len("_test")])
        suite.addTests(loader.loadTestsFromModule(importlib.import_module(path.stem)))
    return suite


if __name__ == "__main__":
    unittest.main()
