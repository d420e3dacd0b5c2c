// Which windows a record falls into, for the test harness. The real host has its own; this one
// follows the same rules.

/** Whether nothing can come for a window any more. */
export function isOver(window, watermark, lateness) {
  return watermark !== undefined && window.end - 1 + lateness <= watermark;
}

export class Windows {
  constructor(window) {
    const { size, slide = size, offset = 0, gap } = window ?? {};
    for (const length of window === undefined ? [] : gap === undefined ? [size, slide] : [gap]) {
      if (!Number.isSafeInteger(length) || length <= 0) throw new RangeError("a window is { size }, { size, slide } or { gap }, in milliseconds");
    }
    Object.assign(this, { none: window === undefined, session: gap !== undefined, size, slide, offset, gap });
  }

  /** The windows of a record of this time; a session's may be merged yet. */
  of(time) {
    if (this.none) return [undefined];
    if (time === undefined) throw new Error("a record without a timestamp falls into no window");
    if (this.session) return [{ start: time, end: time + this.gap }];
    const windows = [];
    const past = (((time - this.offset) % this.slide) + this.slide) % this.slide;
    for (let start = time - past; start + this.size > time; start -= this.slide) windows.push({ start, end: start + this.size });
    return windows.reverse();
  }
}
