"""Keeps the records whose value contains a text: `contains` in its config."""

from cofferdam import Batch, Context, Out, Processor, operator


@operator
class Filter(Processor):
    def open(self, ctx: Context) -> None:
        self.contains = ctx.config.text("contains", "error")

    def process(self, batch: Batch, out: Out) -> None:
        # The whole column is searched at once; record by record it would be
        # `if self.contains in record.text: out.keep(record)`.
        out.keep_all(batch.values.containing(self.contains))
