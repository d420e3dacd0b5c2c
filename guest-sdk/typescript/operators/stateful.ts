// Emits, for each record, how many bytes of values have come so far: state in the operator's own
// memory, which a snapshot saves.

import { type Outcome, type Record, Processor, encode, utf8 } from "../cofferdam/cofferdam.js";

export default class Total extends Processor {
  private total = 0;

  override processRecord(record: Record, out: Outcome): void {
    this.total += record.bytes().length;
    out.emit(record, String(this.total));
  }

  override snapshot(): Uint8Array {
    return encode(JSON.stringify({ total: this.total }));
  }

  override restore(state: Uint8Array): void {
    this.total = (JSON.parse(utf8(state) ?? "") as { total: number }).total;
  }
}
