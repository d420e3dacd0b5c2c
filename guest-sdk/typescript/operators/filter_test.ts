import assert from "node:assert/strict";
import { test } from "node:test";

import { Harness } from "../cofferdam/testing.js";
import Filter from "../src/operator.js";

test("keeps what has the text in it", () => {
  const harness = new Harness(Filter, { config: { contains: "warn" } });
  const answer = harness.send(["a warning", "all well", "error", "warn"]);
  assert.deepEqual(answer.values(), ["a warning", "warn"]);
});

test("looks for errors if nothing is said, and keeps key and time", () => {
  const harness = new Harness(Filter);
  const answer = harness.send([{ key: "k", value: "an error", timestamp: 5 }, { key: "k", value: "", timestamp: 6 }]);
  assert.deepEqual(answer.records(), [{ key: "k", value: "an error", timestamp: 5 }]);
});
