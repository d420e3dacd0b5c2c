// Tells when nothing came for a key for a while: `timeout_ms` of event time in its config,
// 10,000 if not given.

import { KeyedProcessor, Reject, utf8 } from "../cofferdam/cofferdam.js";

export default class Idle extends KeyedProcessor {
  open(context) {
    this.timeout = context.integer("timeout_ms", 10_000);
  }

  foldRecord(group, record) {
    if (utf8(group.keyBytes) === undefined) throw new Reject("the key is not UTF-8");
    const time = record.timestamp;
    if (time === undefined) throw new Reject("the record has no event time");
    const before = group.state;
    if (before !== undefined) group.deleteTimer("event", before.last + this.timeout);
    group.setTimer("event", time + this.timeout);
    group.state = { last: time, count: (before?.count ?? 0) + 1 };
  }

  fire(group, firing, out) {
    const state = group.state;
    if (state === undefined) return;
    out.emit(firing, { key: group.key, idle_since: state.last, records: state.count });
    group.state = undefined;
  }
}
