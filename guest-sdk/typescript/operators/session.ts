// Adds up the numbers of each key's sessions, and emits sum and count when a session ends.

import { type Firing, type Group, type Outcome, type Record, KeyedProcessor, Reject, utf8 } from "../cofferdam/cofferdam.js";

/** The state of a session. */
interface Sum {
  sum: number;
  count: number;
}

export default class SessionSum extends KeyedProcessor<Sum> {
  override foldRecord(group: Group<Sum>, record: Record): void {
    if (utf8(group.keyBytes) === undefined) throw new Reject("the key is not UTF-8");
    const text = utf8(record.bytes()) ?? "";
    if (!/^[+-]?[0-9]+$/.test(text) || !Number.isSafeInteger(Number(text))) throw new Reject("not a number");
    const { sum, count } = group.state ?? { sum: 0, count: 0 };
    group.state = { sum: sum + Number(text), count: count + 1 };
  }

  override merge(_key: Uint8Array, earlier: Sum, later: Sum): Sum {
    return { sum: earlier.sum + later.sum, count: earlier.count + later.count };
  }

  override fire(group: Group<Sum>, firing: Firing, out: Outcome): void {
    if (group.state === undefined) return;
    const { sum, count } = group.state;
    out.emit(firing, { key: group.key, sum, count });
  }
}
