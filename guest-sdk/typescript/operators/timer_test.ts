import assert from "node:assert/strict";
import { test } from "node:test";

import { Harness } from "../cofferdam/testing.js";
import Idle from "../src/operator.js";

test("a key is told once nothing came for the timeout", () => {
  const harness = new Harness(Idle, { config: { timeout_ms: 100 } });
  harness.send([{ key: "a", timestamp: 0 }, { key: "a", timestamp: 50 }]);
  assert.deepEqual(harness.timers, [{ key: "a", kind: "event", at: 150 }]);
  assert.deepEqual(harness.advanceWatermark(149).values(), []);
  const answer = harness.advanceWatermark(150);
  assert.deepEqual(answer.records(), [{ key: "a", value: '{"key":"a","idle_since":50,"records":2}', timestamp: 150 }]);
  assert.equal(harness.states, 0);
});

test("a record without a time is refused", () => {
  const answer = new Harness(Idle).send([{ key: "a" }]);
  assert.deepEqual(answer.rejected, [{ index: 0, reason: "the record has no event time" }]);
});
