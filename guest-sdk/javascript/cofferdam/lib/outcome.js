// What an operator makes of a call: emissions by port, and rejected records. What an emitted
// record has in common with the one that it stems from stays on the host's side.

import { ColumnBuilder } from "./column.js";
import { Reject } from "./context.js";

const KEY = 1;
const VALUE = 2;
const TIME = 4;

/** A run of records for one port that have the same columns set afresh. */
class Segment {
  constructor(port, fresh, given) {
    this.port = port;
    this.fresh = fresh;
    this.given = given;
    this.rows = [];
    this.keys = (given & KEY) !== 0 ? new ColumnBuilder() : undefined;
    this.values = (given & VALUE) !== 0 ? new ColumnBuilder() : undefined;
    this.times = (given & TIME) !== 0 ? [] : undefined;
  }

  finish() {
    return {
      port: this.port,
      origin: this.fresh ? { tag: "fresh" } : { tag: "keep", val: numbers(this.rows) },
      keys: this.keys?.finish(),
      values: this.values?.finish(),
      timestamps: this.times === undefined ? undefined : BigInt64Array.from(this.times, BigInt),
    };
  }
}

/** As the contract's lists of numbers are lowered at once: an array goes number by number. */
function numbers(list) {
  if (!Array.isArray(list)) return list;
  const array = new Uint32Array(list.length);
  array.set(list);
  return array;
}

function checkPort(port) {
  if (!Number.isInteger(port) || port < 0 || port > 255) {
    throw new RangeError(`port ${port}: ports are 0 to 255`);
  }
}

/** As JSON. A number needs no `JSON.stringify`, which costs ten times as much. */
export function jsonOf(value) {
  // As `Number.isFinite`, without a call.
  if (typeof value === "number" && value - value === 0) return `${value}`;
  return JSON.stringify(value);
}

/** A value or key as it is written: text and bytes as they are, anything else as JSON. */
function written(value) {
  if (typeof value === "string" || value instanceof Uint8Array) return value;
  const json = jsonOf(value);
  if (json === undefined) throw new TypeError(`a ${typeof value} cannot be emitted: it has no JSON`);
  return json;
}

/** A record that is refused is rejected; anything else that is thrown goes on. */
export function refuse(error, record, out) {
  if (!(error instanceof Reject)) throw error;
  out.reject(record, error.message);
}

/** A whole column, as the contract has it. */
function columnOf(what, column, count) {
  if (column === undefined) return undefined;
  let { data, offsets } = column;
  if (data === undefined) {
    const builder = new ColumnBuilder();
    for (const value of column) builder.push(written(value));
    ({ data, offsets } = builder.finish());
  }
  if (offsets.length !== 0 && offsets.length !== count + 1) {
    throw new RangeError(`${offsets.length - 1} ${what} for ${count} records`);
  }
  return { data, offsets: numbers(offsets) };
}

/** Where what comes of a call is put. */
export class Outcome {
  constructor(length) {
    this._length = length;
    this._emissions = [];
    // The open segment of each port, by port.
    this._open = [];
    this._rejected = [];
    this._refused = undefined;
  }

  keep(record, port = 0) {
    const open = this._open[port];
    const segment = open !== undefined && open.given === 0 && !open.fresh ? open : this._segment(port, false, 0);
    segment.rows[segment.rows.length] = record.index;
  }

  keepAll(indexes = undefined, port = 0) {
    checkPort(port);
    this._open[port] = undefined;
    let origin = { tag: "same" };
    if (indexes !== undefined) {
      const list = Uint32Array.from(indexes);
      for (const index of list) {
        if (index >= this._length) throw new RangeError(`index ${index}: the batch has ${this._length} records`);
      }
      origin = { tag: "keep", val: list };
    }
    this._emissions.push({ port, origin, keys: undefined, values: undefined, timestamps: undefined });
  }

  emit(origin, value, more = undefined) {
    if (more === undefined && value !== undefined) {
      const open = this._open[0];
      const segment = open !== undefined && open.given === VALUE && !open.fresh ? open : this._segment(0, false, VALUE);
      const { rows, values } = segment;
      const text = typeof value === "string" ? value : written(value);
      // A text goes where `push` would put it: a call less.
      if (typeof text === "string" && values._texts !== undefined) values._texts[values.length++] = text;
      else values.push(text);
      rows[rows.length] = origin.index;
      return;
    }
    this._emit(origin, value, more ?? {});
  }

  /** Many records at once: columns are `{ data, offsets }`, or lists of values. */
  emitAll({ from = undefined, keys = undefined, values = undefined, timestamps = undefined, port = 0 }) {
    this.keepAll(from, port);
    const emission = this._emissions[this._emissions.length - 1];
    const count = from === undefined ? this._length : emission.origin.val.length;
    emission.keys = columnOf("keys", keys, count);
    emission.values = columnOf("values", values, count);
    if (timestamps !== undefined) {
      if (timestamps.length !== count) throw new RangeError(`${timestamps.length} timestamps for ${count} records`);
      emission.timestamps = timestamps instanceof BigInt64Array ? timestamps : BigInt64Array.from(timestamps, BigInt);
    }
  }

  emitFresh(value, more = {}) {
    this._emit(undefined, value ?? "", more);
  }

  _emit(origin, value, { key, timestamp, port = 0 }) {
    const fresh = origin === undefined;
    const given = (key === undefined ? 0 : KEY) | (value === undefined ? 0 : VALUE) | (timestamp === undefined ? 0 : TIME);
    if (timestamp !== undefined && !Number.isSafeInteger(timestamp)) {
      throw new RangeError(`timestamp ${timestamp}: it must be whole milliseconds since 1970`);
    }
    const [newKey, newValue] = [key === undefined ? undefined : written(key), value === undefined ? undefined : written(value)];
    const segment = this._segment(port, fresh, given);
    if (newKey !== undefined) segment.keys.push(newKey);
    if (newValue !== undefined) segment.values.push(newValue);
    if (timestamp !== undefined) segment.times.push(timestamp);
    if (!fresh) segment.rows[segment.rows.length] = origin.index;
  }

  reject(record, reason) {
    if (record._batch === undefined) throw new TypeError("only records can be rejected, not firings");
    this._refused ??= new Set();
    if (this._refused.has(record)) return;
    this._refused.add(record);
    this._rejected.push({ index: record.index, reason: String(reason) });
  }

  _segment(port, fresh, given) {
    const open = this._open[port];
    if (open !== undefined && open.fresh === fresh && open.given === given) return open;
    checkPort(port);
    const segment = new Segment(port, fresh, given);
    this._open[port] = segment;
    this._emissions.push(segment);
    return segment;
  }

  /** The outcome, as the contract has it. */
  finish() {
    const emissions = this._emissions;
    for (let i = 0; i < emissions.length; i += 1) {
      if (emissions[i] instanceof Segment) emissions[i] = emissions[i].finish();
    }
    return { emissions, rejected: this._rejected };
  }
}
