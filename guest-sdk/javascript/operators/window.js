// Counts the records of each key in each window, and emits the count when the window ends.

import { KeyedProcessor, Reject, utf8 } from "../cofferdam/cofferdam.js";

export default class WindowCount extends KeyedProcessor {
  foldRecord(group) {
    if (utf8(group.keyBytes) === undefined) throw new Reject("the key is not UTF-8");
    group.state = { count: (group.state?.count ?? 0) + 1 };
  }

  fire(group, firing, out) {
    if (group.state === undefined) return;
    const { start, end } = group.window;
    out.emit(firing, { key: group.key, window_start: start, window_end: end, count: group.state.count });
  }
}
