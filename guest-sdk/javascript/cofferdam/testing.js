// A host for native tests (`node --test`): it groups by key and window, keeps states in their
// encoded form, keeps timers, and checks what the operator answers as the real host does. No
// Wasm, no threads, no clock but the one that you move.

import { Answer, Inputs } from "./lib/answer.js";
import { Batch } from "./lib/batch.js";
import { Column, ColumnBuilder } from "./lib/column.js";
import { Context, finished, setPlatform } from "./lib/context.js";
import * as keyed from "./lib/keyed.js";
import { Outcome } from "./lib/outcome.js";
import { utf8 } from "./lib/text.js";
import { Windows, isOver } from "./lib/windows.js";

const asBytes = (value) => (value instanceof Uint8Array ? value : Buffer.from(value));
/** Keys are told apart by their bytes. */
const nameOf = (key, window) => `${Buffer.from(key).toString("latin1")}\0${window ? `${window.start}:${window.end}` : ""}`;

export class Harness {
  constructor(Operator, { config = {}, window, allowedLateness = 0, subtask = 0, parallelism = 1, inputs = 1, outputs = 1, operator = "operator" } = {}) {
    this._windows = new Windows(window);
    this._lateness = allowedLateness;
    this._batch = new Batch();
    // By name: the encoded state with its key and window; for windows, whether they have fired.
    this._states = new Map();
    this._open = new Map();
    this._timers = [];
    this._watermark = undefined;
    this._clock = 0;
    this.logs = [];
    this._counters = new Map();
    this._gauges = new Map();
    this._histograms = new Map();
    this.operator = new Operator();
    const context = new Context({ operator, subtask, parallelism, inputs, outputs }, JSON.parse(JSON.stringify(config)));
    this._call(() => finished(this.operator.open(context), "open"));
  }

  /** Calls the operator, with its logs and metrics kept here. */
  _call(call) {
    const before = setPlatform({
      log: (level, message) => this.logs.push({ level, message }),
      counterAdd: (name, delta) => this._counters.set(name, this.counter(name) + delta),
      gaugeSet: (name, value) => this._gauges.set(name, value),
      histogramRecord: (name, value) => this._histograms.set(name, [...this.histogram(name), value]),
    });
    try {
      return call();
    } finally {
      setPlatform(before);
    }
  }

  counter(name) {
    return this._counters.get(name) ?? 0;
  }

  gauge(name) {
    return this._gauges.get(name);
  }

  histogram(name) {
    return this._histograms.get(name) ?? [];
  }

  send(records, input = 0) {
    const inputs = new Inputs(records);
    const batch = this._batch.load(input, inputs.raw());
    if (typeof this.operator.fold === "function") return this._fold(inputs, batch);
    const out = new Outcome(batch.length);
    this._call(() => finished(this.operator.process(batch, out), "process"));
    return new Answer(out.finish(), inputs);
  }

  finish() {
    if (typeof this.operator.fold === "function") return this.advanceWatermark(Number.MAX_SAFE_INTEGER);
    const out = new Outcome(0);
    this._call(() => finished(this.operator.finish(out), "finish"));
    return new Answer(out.finish(), new Inputs([]));
  }

  snapshot() {
    return this._call(() => this.operator.snapshot()).slice();
  }

  restore(state) {
    this._call(() => this.operator.restore(state));
  }

  _fold(inputs, batch) {
    const groups = new Map();
    const late = [];
    for (const record of batch) {
      let taken = false;
      for (const window of this._windows.of(inputs.time(record.index))) {
        const key = record.keyBytes().slice();
        const joined = this._join(key, window, groups);
        if (joined && isOver(joined, this._watermark, this._lateness)) continue;
        taken = true;
        const name = nameOf(key, joined);
        if (!groups.has(name)) groups.set(name, { name, key, window: joined, rows: [] });
        groups.get(name).rows.push(record.index);
        if (joined && !this._open.has(name)) this._open.set(name, { key, window: joined, fired: false });
      }
      if (!taken) late.push(record.index);
    }
    const list = [...groups.values()];
    if (list.length === 0) return new Answer({ emissions: [], rejected: [] }, inputs, late);
    const outcome = this._call(() => keyed.fold(this.operator, batch, this._now(), this._groups(list)));
    const answer = new Answer(outcome.outcome, inputs, late);
    this._take(outcome, list);
    // A late record that is still allowed fires a window that had fired, again.
    const again = list.filter(({ name, window }) => window && (this._open.get(name)?.fired || window.end - 1 <= (this._watermark ?? -Infinity)));
    return again.length === 0 ? answer : answer.with(this._fire(again.map((group) => ({ ...group, kind: "window", time: group.window.end - 1 }))));
  }

  /** A session that a record begins, with those of its key that it overlaps or touches. */
  _join(key, window, groups) {
    if (window === undefined || !this._windows.session) return window;
    let joined = window;
    const parts = [];
    for (const [name, other] of this._open) {
      if (nameOf(other.key) !== nameOf(key) || other.window.start > joined.end || joined.start > other.window.end) continue;
      joined = { start: Math.min(joined.start, other.window.start), end: Math.max(joined.end, other.window.end) };
      parts.push([name, other]);
    }
    const target = nameOf(key, joined);
    if (parts.length === 0 || (parts.length === 1 && parts[0][0] === target)) return joined;
    parts.sort((a, b) => a[1].window.start - b[1].window.start);
    let state = new Uint8Array(0);
    const rows = [];
    for (const [name] of parts) {
      const other = this._states.get(name)?.state ?? new Uint8Array(0);
      state = this._merge(key, state, other);
      rows.push(...(groups.get(name)?.rows ?? []));
      for (const map of [this._states, this._open, groups]) map.delete(name);
      for (const timer of this._timers) if (timer.name === name) Object.assign(timer, { name: target, window: joined });
    }
    if (state.length > 0) this._states.set(target, { key, window: joined, state });
    this._open.set(target, { key, window: joined, fired: false });
    if (rows.length > 0) groups.set(target, { name: target, key, window: joined, rows: rows.sort((a, b) => a - b) });
    return joined;
  }

  _merge(key, left, right) {
    const columns = [key, left, right].map((value) => {
      const builder = new ColumnBuilder();
      builder.push(value);
      return builder.finish();
    });
    const merged = new Column(this._call(() => keyed.merge(this.operator, ...columns)), 1);
    return merged.bytes(0).slice();
  }

  _groups(list) {
    const [keys, states] = [new ColumnBuilder(), new ColumnBuilder()];
    const offsets = [0];
    for (const { name, key, rows } of list) {
      keys.push(key);
      states.push(this._states.get(name)?.state ?? new Uint8Array(0));
      offsets.push(offsets[offsets.length - 1] + rows.length);
    }
    const windows = list.filter(({ window }) => window !== undefined).map(({ window }) => window);
    return {
      keys: keys.finish(), states: states.finish(), rows: list.flatMap(({ rows }) => rows), rowOffsets: offsets,
      windowStarts: windows.map(({ start }) => start), windowEnds: windows.map(({ end }) => end),
    };
  }

  _now() {
    return { watermark: this._watermark, processing: this._clock };
  }

  /** Takes over what a call changed. */
  _take({ changed, states, setTimers, deleteTimers }, list) {
    const column = new Column(states, changed.length);
    changed.forEach((g, i) => {
      const { name, key, window } = list[g];
      const state = column.bytes(i).slice();
      if (state.length === 0) this._states.delete(name);
      else this._states.set(name, { key, window, state });
    });
    const same = (a) => (b) => a.name === b.name && a.kind === b.kind && a.at === b.at;
    const of = ({ group, kind, at }) => ({ name: list[group].name, key: list[group].key, window: list[group].window, kind, at });
    for (const timer of deleteTimers.map(of)) this._timers = this._timers.filter((other) => !same(timer)(other));
    for (const timer of setTimers.map(of)) if (!this._timers.some(same(timer))) this._timers.push(timer);
  }

  /** Fires, in one call, what is due: `{ key, window, name, kind, time }`. */
  _fire(due) {
    const list = [];
    due.forEach((firing, i) => {
      let group = list.find(({ name }) => name === firing.name);
      if (group === undefined) list.push((group = { ...firing, rows: [] }));
      group.rows.push(i);
    });
    const firings = { kinds: due.map(({ kind }) => kind), times: due.map(({ time }) => time) };
    const outcome = this._call(() => keyed.fire(this.operator, this._now(), firings, this._groups(list)));
    this._take(outcome, list);
    for (const { name, kind } of due) if (kind === "window" && this._open.has(name)) this._open.get(name).fired = true;
    return new Answer(outcome.outcome, Inputs.ofFirings(due));
  }

  /** Fires all that is due, also what that sets anew. */
  _fireDue() {
    let answer = new Answer({ emissions: [], rejected: [] }, new Inputs([]));
    for (;;) {
      const watermark = this._watermark ?? -Infinity;
      const timers = this._timers.filter(({ kind, at }) => at <= (kind === "event" ? watermark : this._clock));
      this._timers = this._timers.filter((timer) => !timers.includes(timer));
      const windows = [...this._open].filter(([, { fired, window }]) => !fired && window.end - 1 <= watermark);
      const due = [
        ...timers.map((timer) => ({ ...timer, time: timer.at })),
        ...windows.map(([name, { key, window }]) => ({ name, key, window, kind: "window", time: window.end - 1 })),
      ].sort((a, b) => a.time - b.time);
      if (due.length === 0) return answer;
      answer = answer.with(this._fire(due));
    }
  }

  advanceWatermark(to) {
    this._watermark = Math.max(to, this._watermark ?? to);
    const answer = this._fireDue();
    for (const [name, { window }] of [...this._open]) {
      if (!isOver(window, this._watermark, this._lateness)) continue;
      this._open.delete(name);
      this._states.delete(name);
      this._timers = this._timers.filter((timer) => timer.name !== name);
    }
    return answer;
  }

  advanceTime(to) {
    this._clock = Math.max(to, this._clock);
    return this._fireDue();
  }

  state(key, window = undefined) {
    const found = this._states.get(nameOf(asBytes(key), window));
    if (found === undefined) return undefined;
    const codec = this.operator.codec;
    return codec.decodeText === undefined ? codec.decode(found.state) : codec.decodeText(utf8(found.state));
  }

  setState(key, state, window = undefined) {
    const encoded = asBytes(this.operator.codec.encode(state));
    this._states.set(nameOf(asBytes(key), window), { key: asBytes(key), window, state: encoded });
  }

  get states() {
    return this._states.size;
  }

  get timers() {
    const timers = this._timers.map(({ key, kind, at, window }) => ({ key: utf8(key) ?? key, kind, at, ...(window && { window }) }));
    return timers.sort((a, b) => a.at - b.at);
  }
}
