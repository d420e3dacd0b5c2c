// Emits, for each record, how many bytes of values have come so far: state in the operator's own
// memory, which a snapshot saves.

import { Processor, encode, utf8 } from "../cofferdam/cofferdam.js";

export default class Total extends Processor {
  total = 0;

  processRecord(record, out) {
    this.total += record.bytes().length;
    out.emit(record, String(this.total));
  }

  snapshot() {
    return encode(JSON.stringify({ total: this.total }));
  }

  restore(state) {
    this.total = JSON.parse(utf8(state)).total;
  }
}
