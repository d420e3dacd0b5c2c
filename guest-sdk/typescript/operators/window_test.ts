import assert from "node:assert/strict";
import { test } from "node:test";

import { Harness } from "../cofferdam/testing.js";
import WindowCount from "../src/operator.js";

test("a window is told when it ends, and not before", () => {
  const harness = new Harness(WindowCount, { window: { size: 1000 } });
  const sent = harness.send([0, 999, 1000].map((timestamp) => ({ key: "a", timestamp })));
  assert.deepEqual(sent.values(), []);
  const answer = harness.advanceWatermark(999);
  assert.deepEqual(answer.records(), [{ key: "a", value: '{"key":"a","window_start":0,"window_end":1000,"count":2}', timestamp: 999 }]);
  assert.deepEqual(harness.finish().json().map(({ count }) => count), [1]);
});

test("what comes after the end of its window is late", () => {
  const harness = new Harness(WindowCount, { window: { size: 1000 } });
  harness.advanceWatermark(5000);
  assert.deepEqual(harness.send([{ key: "a", timestamp: 10 }]).late, [0]);
});
