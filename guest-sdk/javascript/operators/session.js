// Adds up the numbers of each key's sessions, and emits sum and count when a session ends.

import { KeyedProcessor, Reject, utf8 } from "../cofferdam/cofferdam.js";

export default class SessionSum extends KeyedProcessor {
  foldRecord(group, record) {
    if (utf8(group.keyBytes) === undefined) throw new Reject("the key is not UTF-8");
    const text = utf8(record.bytes()) ?? "";
    if (!/^[+-]?[0-9]+$/.test(text) || !Number.isSafeInteger(Number(text))) throw new Reject("not a number");
    const { sum, count } = group.state ?? { sum: 0, count: 0 };
    group.state = { sum: sum + Number(text), count: count + 1 };
  }

  merge(_key, earlier, later) {
    return { sum: earlier.sum + later.sum, count: earlier.count + later.count };
  }

  fire(group, firing, out) {
    if (group.state === undefined) return;
    const { sum, count } = group.state;
    out.emit(firing, { key: group.key, sum, count });
  }
}
