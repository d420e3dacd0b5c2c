import assert from "node:assert/strict";
import { test } from "node:test";

import { Harness } from "../cofferdam/testing.js";
import Telemetry from "../src/operator.js";

test("logs and metrics, and everything kept", () => {
  const harness = new Harness(Telemetry, { config: { greeting: "hello" }, subtask: 1, parallelism: 3 });
  assert.deepEqual(harness.send(["a"]).values(), ["a"]);
  assert.deepEqual(harness.send(["bb", "ccc"]).values(), ["bb", "ccc"]);
  assert.deepEqual(harness.logs, [
    { level: "info", message: "hello, subtask 1 of 3" },
    { level: "debug", message: "record 2: bb" },
  ]);
  assert.equal(harness.counter("records"), 3);
  assert.deepEqual(harness.histogram("value_bytes"), [1, 2, 3]);
  assert.equal(harness.gauge("last_value_bytes"), 3);
});

test("a greeting is required", () => {
  assert.throws(() => new Harness(Telemetry), { name: "Failure", message: "config: greeting is missing" });
});
