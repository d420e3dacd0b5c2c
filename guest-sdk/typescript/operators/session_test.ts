import assert from "node:assert/strict";
import { test } from "node:test";

import { Harness } from "../cofferdam/testing.js";
import SessionSum from "../src/operator.js";

test("a record between two sessions makes them one", () => {
  const harness = new Harness(SessionSum, { window: { gap: 10 } });
  harness.send([{ key: "a", value: "1", timestamp: 0 }, { key: "a", value: "2", timestamp: 18 }, { key: "b", value: "-7", timestamp: 100 }]);
  harness.send([{ key: "a", value: "4", timestamp: 9 }]);
  assert.deepEqual(harness.finish().values(), ['{"key":"a","sum":7,"count":3}', '{"key":"b","sum":-7,"count":1}']);
});

test("what is no number is refused", () => {
  const harness = new Harness(SessionSum, { window: { gap: 10 } });
  const answer = harness.send([{ key: "a", value: "1.5", timestamp: 0 }]);
  assert.deepEqual(answer.rejected, [{ index: 0, reason: "not a number" }]);
  assert.deepEqual(harness.finish().values(), []);
});
