"""Lets everything through, and shows a configuration, log lines and metrics."""

import logging

from cofferdam import Batch, Context, Out, Processor, metrics, operator

log = logging.getLogger(__name__)


@operator
class Telemetry(Processor):
    def open(self, ctx: Context) -> None:
        greeting = ctx.config.text("greeting")
        self.every = max(ctx.config.integer("every", 2), 1)
        self.seen = 0
        log.info("%s, subtask %d of %d", greeting, ctx.subtask, ctx.parallelism)

    def process(self, batch: Batch, out: Out) -> None:
        metrics.counter("records").add(len(batch))
        sizes = metrics.histogram("value_bytes")
        for record in batch:
            sizes.record(len(record.value))
            self.seen += 1
            if self.seen % self.every == 0:
                log.debug("record %d: %s", self.seen, record.value.decode(errors="replace"))
        if batch:
            metrics.gauge("last_value_bytes").set(len(batch[-1].value))
        out.keep_batch()
