"""Tells when nothing came for a key for a while: `timeout_ms` in its config."""

from dataclasses import dataclass

from cofferdam import Context, Firing, Group, KeyedOperator, Out, Record, Reject, operator


@dataclass
class Seen:
    last: int
    count: int = 0


@operator
class Timer(KeyedOperator[Seen]):
    def open(self, ctx: Context) -> None:
        self.timeout = ctx.config.integer("timeout_ms", 10_000)

    def fold_record(self, group: Group[Seen], record: Record, out: Out) -> None:
        _ = group.key_text  # One that is not UTF-8 has its records rejected.
        if record.timestamp is None:
            raise Reject("the record has no event time")
        if group.state:
            group.delete_timer(group.state.last + self.timeout)
        state = group.state_or(Seen(record.timestamp))
        state.last = record.timestamp
        state.count += 1
        group.set_timer(state.last + self.timeout)

    def fire(self, group: Group[Seen], firing: Firing, out: Out) -> None:
        seen = group.state
        if seen:
            out.emit_json(
                {"key": group.key_text, "idle_since": seen.last, "records": seen.count},
                of=firing,
            )
        del group.state
