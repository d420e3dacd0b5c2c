// Write stream operators for Cofferdam in JavaScript or TypeScript. What there is, with its
// types: cofferdam.d.ts. How to begin: README.md.

import { Reject } from "./lib/context.js";
import { json } from "./lib/keyed.js";

export { NotJson, NotUtf8 } from "./lib/batch.js";
export { Failure, Reject, log, metrics } from "./lib/context.js";
export { bytes as bytesCodec, json as jsonCodec } from "./lib/keyed.js";
export { encode, utf8 } from "./lib/text.js";

/** Calls for each record of a batch or group. One that is refused is rejected. */
function eachRecord(records, call, out) {
  // No iterator: that costs more than the rest of the loop.
  for (let i = 0; i < records.length; i += 1) {
    const record = records.take(i);
    try {
      call(record);
    } catch (error) {
      if (!(error instanceof Reject)) throw error;
      out.reject(record, error.message);
    }
  }
  records.take(-1);
}

/** An operator whose answer depends on the batch, or on what it keeps in its own memory. */
export class Processor {
  open(_context) {}

  process(batch, out) {
    eachRecord(batch, (record) => this.processRecord(record, out), out);
  }

  processRecord(_record, _out) {
    throw new Error(`${this.constructor.name} has neither \`process\` nor \`processRecord\``);
  }

  finish(_out) {}
}

/** An operator with state by key, which the host keeps. */
export class KeyedProcessor {
  codec = json;

  open(_context) {}

  fold(group, out) {
    eachRecord(group, (record) => this.foldRecord(group, record, out), out);
  }

  foldRecord(_group, _record, _out) {
    throw new Error(`${this.constructor.name} has neither \`fold\` nor \`foldRecord\``);
  }

  fire(_group, _firing, _out) {}
}
