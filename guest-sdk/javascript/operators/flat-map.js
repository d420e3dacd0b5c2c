// Splits each value at spaces: a record for every word, with the word in lower case as its key.

import { Processor } from "../cofferdam/cofferdam.js";

const SPACE = 0x20;

/** The same bytes, with ASCII letters in lower case. */
function lower(word) {
  return word.map((byte) => (byte >= 65 && byte <= 90 ? byte + 32 : byte));
}

export default class FlatMap extends Processor {
  processRecord(record, out) {
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
