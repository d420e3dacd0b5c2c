// Lets everything through, and shows a configuration, log lines and metrics.

import { Processor, log, metrics, utf8 } from "../cofferdam/cofferdam.js";

export default class Telemetry extends Processor {
  seen = 0;

  open(context) {
    const greeting = context.text("greeting");
    this.every = context.integer("every", 2);
    log.info(`${greeting}, subtask ${context.subtask} of ${context.parallelism}`);
  }

  process(batch, out) {
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
