// Hides digits: each one in a value becomes `#`. Keys and times stay.

import { type Batch, type Outcome, Processor } from "../cofferdam/cofferdam.js";

const HASH = "#".charCodeAt(0);

export default class Mask extends Processor {
  override process(batch: Batch, out: Outcome): void {
    // All values at once, since none changes its length. Record by record it would be
    // `out.emit(record, record.text().replace(/[0-9]/g, "#"))`.
    const data = batch.values.data.slice();
    for (let digit = 0; digit < 10; digit += 1) {
      const code = String(digit).charCodeAt(0);
      for (let at = data.indexOf(code); at >= 0; at = data.indexOf(code, at + 1)) data[at] = HASH;
    }
    out.emitAll({ values: { data, offsets: batch.values.offsets } });
  }
}
