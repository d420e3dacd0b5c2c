import assert from "node:assert/strict";
import { test } from "node:test";

import { Harness } from "../cofferdam/testing.js";
import Route from "../src/operator.js";

test("objects go to port 0, the rest to port 1, and nothing is rejected but the empty", () => {
  const answer = new Harness(Route).send(['{"a":1}', "text", ""]);
  assert.deepEqual(answer.values(0), ['{"a":1}']);
  assert.deepEqual(answer.values(1), ["text"]);
  assert.deepEqual(answer.rejected, [{ index: 2, reason: "the value is empty" }]);
});
