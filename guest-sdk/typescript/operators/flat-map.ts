// Splits each value at spaces: a record for every word, with the word in lower case as its key.

import { type Outcome, type Record, Processor } from "../cofferdam/cofferdam.js";

const SPACE = 0x20;

/** The same bytes, with ASCII letters in lower case. */
function lower(word: Uint8Array): Uint8Array {
  return word.map((byte) => (byte >= 65 && byte <= 90 ? byte + 32 : byte));
}

export default class FlatMap extends Processor {
  override processRecord(record: Record, out: Outcome): void {
    const line = record.bytes();
    for (let start = 0; start < line.length; ) {
      const space = line.indexOf(SPACE, start);
      const end = space < 0 ? line.length : space;
      const word = line.subarray(start, end);
      if (word.length > 0) out.emit(record, word, { key: lower(word) });
      start = end + 1;
    }
  }
}
