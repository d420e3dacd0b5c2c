// Counts the records of each key, and emits the count so far for each record.

import { KeyedProcessor, utf8 } from "../cofferdam/cofferdam.js";

export default class Count extends KeyedProcessor {
  fold(group, out) {
    const key = utf8(group.keyBytes);
    if (key === undefined) {
      for (const record of group) out.reject(record, "the key is not UTF-8");
      return;
    }
    group.state ??= { count: 0 };
    const state = group.state;
    for (const record of group) {
      state.count += 1;
      out.emit(record, { key, count: state.count });
    }
  }
}
