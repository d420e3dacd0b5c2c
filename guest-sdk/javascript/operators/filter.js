// Keeps the records whose value has a text in it: `contains` in its config, "error" if not given.

import { Processor } from "../cofferdam/cofferdam.js";

export default class Filter extends Processor {
  open(context) {
    this.contains = context.text("contains", "error");
  }

  process(batch, out) {
    // The search goes through all values at once. Record by record it would be
    // `for (const record of batch) if (record.text().includes(this.contains)) out.keep(record);`.
    out.keepAll(batch.values.containing(this.contains));
  }
}
