// Lets everything through, and shows a configuration, log lines and metrics.

import { type Batch, type Context, type Outcome, Processor, log, metrics, utf8 } from "../cofferdam/cofferdam.js";

export default class Telemetry extends Processor {
  private seen = 0;
  private every = 2;

  override open(context: Context): void {
    const greeting = context.text("greeting");
    this.every = context.integer("every", this.every);
    log.info(`${greeting}, subtask ${context.subtask} of ${context.parallelism}`);
  }

  override process(batch: Batch, out: Outcome): void {
    metrics.counter("records", batch.length);
    let size = 0;
    for (const record of batch) {
      size = record.bytes().length;
      metrics.histogram("value_bytes", size);
      this.seen += 1;
      if (this.seen % this.every === 0) log.debug(`record ${this.seen}: ${utf8(record.bytes()) ?? "(bytes)"}`);
    }
    if (batch.length > 0) metrics.gauge("last_value_bytes", size);
    out.keepAll();
  }
}
