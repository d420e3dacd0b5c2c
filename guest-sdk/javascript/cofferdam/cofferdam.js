// Write stream operators for Cofferdam in JavaScript or TypeScript. What there is, with its
// types: cofferdam.d.ts. How to begin: README.md.

import { finished } from "./lib/context.js";
import { foldRecords, json } from "./lib/keyed.js";
import { refuse } from "./lib/outcome.js";

export { NotJson, NotUtf8 } from "./lib/batch.js";
export { Failure, Reject, log, metrics } from "./lib/context.js";
export { bytes as bytesCodec, json as jsonCodec } from "./lib/keyed.js";
export { encode, utf8 } from "./lib/text.js";

/** An operator whose answer depends on the batch, or on what it keeps in its own memory. */
export class Processor {
  open(_context) {}

  process(batch, out) {
    // No iterator and no closure: each costs as much as the rest of the loop.
    const count = batch.length;
    for (let i = 0; i < count; i += 1) {
      const record = batch.take(i);
      try {
        const answer = this.processRecord(record, out);
        if (answer !== undefined) finished(answer, "processRecord");
      } catch (error) {
        refuse(error, record, out);
      }
    }
    batch.take(-1);
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

  foldRecord(_group, _record, _out) {
    throw new Error(`${this.constructor.name} has neither \`fold\` nor \`foldRecord\``);
  }

  fire(_group, _firing, _out) {}
}

Object.defineProperty(KeyedProcessor.prototype, "fold", { value: foldRecords, configurable: true, writable: true });
