// Counts the records of each key in each window, and emits the count when the window ends.

import { KeyedProcessor } from "../cofferdam/cofferdam.js";

export default class WindowCount extends KeyedProcessor {
  fold(group) {
    group.state = { count: (group.state?.count ?? 0) + group.length };
  }

  fire(group, firing, out) {
    const { start, end } = group.window;
    out.emit(firing, { key: group.key, window_start: start, window_end: end, count: group.state?.count ?? 0 });
  }
}
