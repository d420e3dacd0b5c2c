// Counts the records of each key in each window, and emits the count when the window ends.

import { type Firing, type Group, type Outcome, KeyedProcessor, Reject, utf8 } from "../cofferdam/cofferdam.js";

/** The state of a key and window. */
interface Count {
  count: number;
}

export default class WindowCount extends KeyedProcessor<Count> {
  override foldRecord(group: Group<Count>): void {
    if (utf8(group.keyBytes) === undefined) throw new Reject("the key is not UTF-8");
    group.state = { count: (group.state?.count ?? 0) + 1 };
  }

  override fire(group: Group<Count>, firing: Firing, out: Outcome): void {
    if (group.state === undefined || group.window === undefined) return;
    const { start, end } = group.window;
    out.emit(firing, { key: group.key, window_start: start, window_end: end, count: group.state.count });
  }
}
