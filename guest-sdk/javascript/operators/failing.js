// Fails when it is told to, in the ways that there are. For the conformance suite.

import { Failure, Processor } from "../cofferdam/cofferdam.js";

export default class Failing extends Processor {
  processRecord(record, out) {
    const value = record.text();
    if (value === "panic") throw new Error("boom: told to panic");
    if (value === "error") throw new Failure("told to fail");
    out.keep(record);
  }
}
