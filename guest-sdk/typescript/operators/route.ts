// Sends JSON objects to port 0 and everything else to port 1. Empty values are rejected.

import { type Outcome, type Record, Processor, Reject } from "../cofferdam/cofferdam.js";

const BRACE = "{".charCodeAt(0);

export default class Route extends Processor {
  override processRecord(record: Record, out: Outcome): void {
    const value = record.bytes();
    if (value.length === 0) throw new Reject("the value is empty");
    out.keep(record, value[0] === BRACE ? 0 : 1);
  }
}
