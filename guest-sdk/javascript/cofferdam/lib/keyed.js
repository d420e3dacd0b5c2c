// One call of `keyed-processor` as calls of an author's operator, group by group: states through
// the codec, changes and timers collected. The component and the test harness both come this way.

import { NotUtf8 } from "./batch.js";
import { Column, ColumnBuilder } from "./column.js";
import { Failure, finished } from "./context.js";
import { Outcome, jsonOf, refuse } from "./outcome.js";
import { utf8 } from "./text.js";

/** States as JSON. */
export const json = {
  decodeText: (text) => JSON.parse(text),
  encode: jsonOf,
};

/** States as the bytes that they are. */
export const bytes = {
  decode: (state) => state.slice(),
  encode: (state) => state,
};

/** Timers to set and to delete: the contract applies the two lists in no order, so that the last word on a timer stands in one of them only. */
class Timers {
  constructor() {
    this.set = [];
    this.delete = [];
  }

  put(to, from, group, kind, at) {
    if (kind !== "event" && kind !== "processing") throw new TypeError(`a timer is of kind "event" or "processing", not ${kind}`);
    if (!Number.isSafeInteger(at)) throw new RangeError(`a timer at ${at}: it must be whole milliseconds since 1970`);
    forget(from, group, kind, at);
    const last = to[to.length - 1];
    if (last === undefined || last.group !== group || last.kind !== kind || last.at !== at) to.push({ group, kind, at });
  }
}

/** Removes a timer of the group at hand, whose timers are the last ones. */
function forget(timers, group, kind, at) {
  for (let i = timers.length - 1; i >= 0 && timers[i].group === group; i -= 1) {
    if (timers[i].kind === kind && timers[i].at === at) timers.splice(i, 1);
  }
}

/** One key of a call, or one pair of key and window. The object goes from group to group of a call. */
export class Group {
  constructor(call) {
    this._call = call;
    this._state = undefined;
    this._goTo(0);
  }

  _goTo(index) {
    this._index = index;
    // Whether the state was decoded, or set: only then is it encoded again.
    this._read = false;
    // The text that it was decoded from, if it was one.
    this._before = undefined;
    this._key = undefined;
  }

  get keyBytes() {
    return this._call.keys.bytes(this._index);
  }

  get key() {
    if (this._key === undefined) {
      this._key = this._call.keys.text(this._index);
      if (this._key === undefined) throw new NotUtf8("the key");
    }
    return this._key;
  }

  get window() {
    const { starts, ends } = this._call;
    const i = this._index;
    return starts.length === 0 ? undefined : { start: Number(starts[i]), end: Number(ends[i]) };
  }

  get input() {
    return this._call.batch.input;
  }

  get length() {
    const { offsets, batch } = this._call;
    return batch === undefined ? 0 : offsets[this._index + 1] - offsets[this._index];
  }

  get last() {
    const { batch, rows, offsets } = this._call;
    return batch === undefined ? undefined : batch.record(rows[offsets[this._index + 1] - 1]);
  }

  [Symbol.iterator]() {
    const { batch, rows, offsets } = this._call;
    let at = batch === undefined ? 0 : offsets[this._index];
    const end = batch === undefined ? 0 : offsets[this._index + 1];
    const result = { done: false, value: undefined };
    return {
      next() {
        if (at < end) {
          const row = rows[at];
          batch.at = row;
          result.value = batch.record(row);
          at += 1;
          return result;
        }
        if (batch !== undefined) batch.at = -1;
        return { done: true, value: undefined };
      },
      return() {
        return { done: true, value: undefined };
      },
    };
  }

  get state() {
    if (!this._read) {
      this._state = this._call.stateOf(this);
      this._read = true;
    }
    return this._state;
  }

  set state(state) {
    this._state = state;
    this._read = true;
  }

  get watermark() {
    return this._call.watermark;
  }

  get processingTime() {
    return this._call.processing;
  }

  setTimer(kind, at) {
    const timers = this._call.timers;
    timers.put(timers.set, timers.delete, this._index, kind, at);
  }

  deleteTimer(kind, at) {
    const timers = this._call.timers;
    timers.put(timers.delete, timers.set, this._index, kind, at);
  }
}

/** What all groups of a call share. */
class Call {
  constructor(codec, now, groups, batch) {
    const count = Math.max(groups.rowOffsets.length - 1, 0);
    this.codec = codec;
    this.count = count;
    this.batch = batch;
    this.keys = new Column(groups.keys, count);
    this.states = new Column(groups.states, count);
    this.starts = groups.windowStarts;
    this.ends = groups.windowEnds;
    this.rows = groups.rows;
    this.offsets = groups.rowOffsets;
    this.watermark = now.watermark === undefined || now.watermark === null ? undefined : Number(now.watermark);
    this.processing = Number(now.processing);
    this.timers = new Timers();
    this.changed = [];
    this.newStates = new ColumnBuilder();
  }

  stateOf(group) {
    const { states, codec } = this;
    const g = group._index;
    if (states.absent || states.offsets[g] === states.offsets[g + 1]) return undefined;
    try {
      if (codec.decodeText === undefined) return codec.decode(states.bytes(g));
      return codec.decodeText((group._before = textOf(states, g)));
    } catch (error) {
      throw new Error(`the state of key \`${utf8(this.keys.bytes(g)) ?? "(not UTF-8)"}\` cannot be read: ${error.message}`, { cause: error });
    }
  }

  /** Takes over what a group has become. A state that reads as before is not reported: that spares the next checkpoint. */
  commit(group) {
    const g = group._index;
    const state = group._state;
    const next = state === undefined || state === null ? "" : this.codec.encode(state);
    if (next === undefined) throw new TypeError(`a state of type ${typeof state} has no JSON`);
    if (group._before === undefined ? sameAs(this.states, g, next) : group._before === next) return;
    this.changed[this.changed.length] = g;
    const states = this.newStates;
    if (typeof next === "string" && states._texts !== undefined) states._texts[states.length++] = next;
    else states.push(next);
  }

  finish(outcome) {
    return {
      outcome: outcome.finish(),
      changed: Uint32Array.from(this.changed),
      states: this.newStates.finish(),
      setTimers: this.timers.set,
      deleteTimers: this.timers.delete,
    };
  }
}

function textOf(states, g) {
  const text = states.text(g);
  if (text === undefined) throw new NotUtf8("it");
  return text;
}

function decoded(codec, states, g) {
  return codec.decodeText === undefined ? codec.decode(states.bytes(g)) : codec.decodeText(textOf(states, g));
}

function sameAs(states, g, next) {
  if (states.absent || states.offsets[g] === states.offsets[g + 1]) return next.length === 0;
  if (typeof next === "string") return states.text(g) === next;
  const before = states.bytes(g);
  if (before.length !== next.length) return false;
  for (let i = 0; i < next.length; i += 1) if (before[i] !== next[i]) return false;
  return true;
}

/** `fold` of an operator that has `foldRecord` only. */
export function foldRecords(group, out) {
  const { batch, rows, offsets } = group._call;
  const end = offsets[group._index + 1];
  for (let at = offsets[group._index]; at < end; at += 1) {
    const record = batch.take(rows[at]);
    try {
      const answer = this.foldRecord(group, record, out);
      if (answer !== undefined) finished(answer, "foldRecord");
    } catch (error) {
      refuse(error, record, out);
    }
  }
  batch.at = -1;
}

/** Folds a batch. */
export function fold(operator, batch, now, groups) {
  const call = new Call(operator.codec, now, groups, batch);
  const out = new Outcome(batch.length);
  const group = new Group(call);
  for (let g = 0; g < call.count; g += 1) {
    group._goTo(g);
    finished(operator.fold(group, out), "fold");
    if (group._read) call.commit(group);
  }
  return call.finish(out);
}

/** Fires what is due. */
export function fire(operator, now, due, groups) {
  const call = new Call(operator.codec, now, groups, undefined);
  const out = new Outcome(due.times.length);
  const group = new Group(call);
  for (let g = 0; g < call.count; g += 1) {
    group._goTo(g);
    for (let at = call.offsets[g]; at < call.offsets[g + 1]; at += 1) {
      const index = call.rows[at];
      finished(operator.fire(group, { index, kind: due.kinds[index], time: Number(due.times[index]) }, out), "fire");
    }
    if (group._read) call.commit(group);
  }
  return call.finish(out);
}

/** Merges states pairwise. A side without a state leaves the other as it is. */
export function merge(operator, rawKeys, rawLeft, rawRight) {
  const count = Math.max(rawKeys.offsets.length - 1, rawLeft.offsets.length - 1, rawRight.offsets.length - 1, 0);
  const [keys, left, right] = [rawKeys, rawLeft, rawRight].map((raw) => new Column(raw, count));
  const merged = new ColumnBuilder();
  for (let i = 0; i < count; i += 1) {
    const [one, other] = [left.bytes(i), right.bytes(i)];
    if (one.length === 0 || other.length === 0) {
      merged.push(one.length === 0 ? other : one);
      continue;
    }
    const [earlier, later] = [decoded(operator.codec, left, i), decoded(operator.codec, right, i)];
    const state = operator.merge(keys.bytes(i), earlier, later);
    merged.push(state === undefined || state === null ? "" : operator.codec.encode(state));
  }
  return merged.finish();
}

/** Checks states that another version left. */
export function check(operator, rawKeys, rawStates) {
  const count = Math.max(rawStates.offsets.length - 1, 0);
  const [keys, states] = [rawKeys, rawStates].map((raw) => new Column(raw, count));
  for (let i = 0; i < count; i += 1) {
    try {
      operator.check(keys.bytes(i), decoded(operator.codec, states, i));
    } catch (error) {
      throw new Failure(`key \`${utf8(keys.bytes(i)) ?? "(not UTF-8)"}\`: ${error.message}`);
    }
  }
}
