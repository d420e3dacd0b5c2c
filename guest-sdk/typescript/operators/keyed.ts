// Counts the records of each key, and emits the count so far for each record.

import { type Group, type Outcome, type Record, KeyedProcessor } from "../cofferdam/cofferdam.js";

/** The state of a key. */
interface Count {
  count: number;
}

export default class KeyCount extends KeyedProcessor<Count> {
  override foldRecord(group: Group<Count>, record: Record, out: Outcome): void {
    // A key that is no text has its records rejected here.
    const key = group.key;
    const count = (group.state?.count ?? 0) + 1;
    group.state = { count };
    out.emit(record, { key, count });
  }
}
