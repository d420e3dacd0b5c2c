import assert from "node:assert/strict";
import { test } from "node:test";

import { Harness } from "../cofferdam/testing.js";
import Total from "../src/operator.js";

test("the total goes on from a snapshot", () => {
  const first = new Harness(Total);
  assert.deepEqual(first.send(["abc", "", "é"]).values(), ["3", "3", "5"]);
  const second = new Harness(Total);
  second.restore(first.snapshot());
  assert.deepEqual(second.send(["x"]).values(), ["6"]);
});
