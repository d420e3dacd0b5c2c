import assert from "node:assert/strict";
import { test } from "node:test";

import { Harness } from "../cofferdam/testing.js";
import Failing from "../src/operator.js";

test("fails when it is told to, and only then", () => {
  const harness = new Harness(Failing);
  assert.deepEqual(harness.send(["a", "b"]).values(), ["a", "b"]);
  assert.throws(() => harness.send(["panic"]), { message: "boom: told to panic" });
  assert.throws(() => harness.send(["error"]), { name: "Failure", message: "told to fail" });
});
