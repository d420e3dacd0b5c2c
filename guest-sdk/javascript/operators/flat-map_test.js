import assert from "node:assert/strict";
import { test } from "node:test";

import { Harness } from "../cofferdam/testing.js";
import FlatMap from "../src/operator.js";

test("a record for each word, with its key in lower case and the line's time", () => {
  const answer = new Harness(FlatMap).send([{ value: " The  end", timestamp: 3 }, { value: "", timestamp: 4 }, { value: "END", timestamp: 5 }]);
  assert.deepEqual(answer.records(), [
    { key: "the", value: "The", timestamp: 3 },
    { key: "end", value: "end", timestamp: 3 },
    { key: "end", value: "END", timestamp: 5 },
  ]);
});
