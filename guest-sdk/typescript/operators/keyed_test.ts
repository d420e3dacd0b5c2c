import assert from "node:assert/strict";
import { test } from "node:test";

import { Harness } from "../cofferdam/testing.js";
import Count from "../src/operator.js";

test("each record tells the count of its key so far", () => {
  const harness = new Harness(Count);
  harness.send([{ key: "a" }, { key: "b" }]);
  const answer = harness.send([{ key: "a" }, { key: 'say "hi"' }, { key: "a" }]);
  assert.deepEqual(answer.values().sort(), ['{"key":"a","count":2}', '{"key":"a","count":3}', '{"key":"say \\"hi\\"","count":1}']);
  assert.deepEqual(harness.state("a"), 3);
});

test("a key that is no text is refused, and has no state", () => {
  const harness = new Harness(Count);
  const answer = harness.send([{ key: Uint8Array.of(0xff) }]);
  assert.deepEqual(answer.rejected, [{ index: 0, reason: "the key is not UTF-8" }]);
  assert.equal(harness.states, 0);
});
