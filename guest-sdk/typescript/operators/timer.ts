// Tells when nothing came for a key for a while: `timeout_ms` of event time in its config,
// 10,000 if not given.

import { type Context, type Firing, type Group, type Outcome, type Record, KeyedProcessor, Reject, utf8 } from "../cofferdam/cofferdam.js";

/** What is known of a key that is not silent. */
interface Heard {
  last: number;
  count: number;
}

export default class Idle extends KeyedProcessor<Heard> {
  private timeout = 10_000;

  override open(context: Context): void {
    this.timeout = context.integer("timeout_ms", this.timeout);
  }

  override foldRecord(group: Group<Heard>, record: Record): void {
    if (utf8(group.keyBytes) === undefined) throw new Reject("the key is not UTF-8");
    const time = record.timestamp;
    if (time === undefined) throw new Reject("the record has no event time");
    const before = group.state;
    if (before !== undefined) group.deleteTimer("event", before.last + this.timeout);
    group.setTimer("event", time + this.timeout);
    group.state = { last: time, count: (before?.count ?? 0) + 1 };
  }

  override fire(group: Group<Heard>, firing: Firing, out: Outcome): void {
    const state = group.state;
    if (state === undefined) return;
    out.emit(firing, { key: group.key, idle_since: state.last, records: state.count });
    group.state = undefined;
  }
}
