// Write stream operators for Cofferdam in JavaScript or TypeScript. What there is, with its
// types: cofferdam.d.ts. How to begin: README.md.

import { json } from "./lib/keyed.js";

export { NotUtf8 } from "./lib/batch.js";
export { Failure, log, metrics } from "./lib/context.js";
export { bytes as bytesCodec, json as jsonCodec } from "./lib/keyed.js";
export { encode, utf8 } from "./lib/text.js";

/** An operator whose answer depends on the batch, or on what it keeps in its own memory. */
export class Processor {
  open(_context) {}

  process(_batch, _out) {
    throw new Error(`${this.constructor.name} has no \`process\``);
  }

  finish(_out) {}
}

/** An operator with state by key, which the host keeps. */
export class KeyedProcessor {
  codec = json;

  open(_context) {}

  fold(_group, _out) {
    throw new Error(`${this.constructor.name} has no \`fold\``);
  }

  fire(_group, _firing, _out) {}
}
