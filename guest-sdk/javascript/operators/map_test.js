import assert from "node:assert/strict";
import { test } from "node:test";

import { Harness } from "../cofferdam/testing.js";
import Mask from "../src/operator.js";

test("every digit is hidden; key and time stay", () => {
  const answer = new Harness(Mask).send([{ key: "4", value: "call 555-0199", timestamp: 7 }, { key: "5", value: "", timestamp: 8 }]);
  assert.deepEqual(answer.records(), [{ key: "4", value: "call ###-####", timestamp: 7 }, { key: "5", value: "", timestamp: 8 }]);
});
