// Keeps the records whose value has a text in it: `contains` in its config, "error" if not given.

import { type Batch, type Context, type Outcome, Processor } from "../cofferdam/cofferdam.js";

export default class Filter extends Processor {
  private contains = "error";

  override open(context: Context): void {
    this.contains = context.text("contains", this.contains);
  }

  override process(batch: Batch, out: Outcome): void {
    // The search goes through all values at once. Record by record it would be
    // `for (const record of batch) if (record.text().includes(this.contains)) out.keep(record);`.
    out.keepAll(batch.values.containing(this.contains));
  }
}
