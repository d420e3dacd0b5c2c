// Batches and records, as authors see them. Made of columns; nothing of what becomes of them.

import { Column } from "./column.js";
import { Reject } from "./context.js";

/** Bytes that should be text are not UTF-8. */
export class NotUtf8 extends Reject {
  constructor(what) {
    super(`${what} is not UTF-8`);
    this.name = "NotUtf8";
  }
}

/** A text that should be JSON is none. */
export class NotJson extends Reject {
  constructor(what, error) {
    super(`${what} is not JSON: ${error.message}`);
    this.name = "NotJson";
  }
}

/** A record of a batch. Good for the call in which it came. */
export class Record {
  constructor(batch, index) {
    this._batch = batch;
    this.index = index;
  }

  bytes() {
    return this._batch.values.bytes(this.index);
  }

  text() {
    const text = this._batch.values.text(this.index);
    if (text === undefined) throw new NotUtf8("the value");
    return text;
  }

  json() {
    const text = this.text();
    try {
      return JSON.parse(text);
    } catch (error) {
      throw new NotJson("the value", error);
    }
  }

  keyBytes() {
    return this._batch.keys.bytes(this.index);
  }

  key() {
    const text = this._batch.keys.text(this.index);
    if (text === undefined) throw new NotUtf8("the key");
    return text;
  }

  get timestamp() {
    return this._batch.timestamp(this.index);
  }
}

/** The records of a call. The object lives on from call to call, and so do its records. */
export class Batch {
  constructor() {
    this._pool = [];
    this.load(0, { len: 0, keys: { data: new Uint8Array(0), offsets: [] }, values: { data: new Uint8Array(0), offsets: [] }, timestamps: [] });
  }

  /** Takes what a call came with. */
  load(input, raw) {
    this.input = input;
    this.length = raw.len;
    this.keys = new Column(raw.keys, raw.len);
    this.values = new Column(raw.values, raw.len);
    this._times = raw.timestamps;
    // Which record is in hand, for the report of a crash; -1 if none is.
    this.at = -1;
    return this;
  }

  /** The event time of a record in milliseconds since 1970, or undefined. */
  timestamp(i) {
    const times = this._times;
    if (times.length === 0) return undefined;
    const time = times[i];
    return typeof time === "number" ? time : Number(time);
  }

  record(i) {
    const pool = this._pool;
    while (pool.length <= i) pool.push(new Record(this, pool.length));
    return pool[i];
  }

  /** A record, which is in hand from now on; none if the index is negative. */
  take(i) {
    this.at = i;
    return i < 0 ? undefined : (this._pool[i] ?? this.record(i));
  }

  [Symbol.iterator]() {
    const count = this.length;
    if (count > 0) this.record(count - 1);
    const batch = this;
    const pool = this._pool;
    // One result object for all records: the loop has no use for it afterwards.
    const result = { done: false, value: undefined };
    let i = 0;
    return {
      next() {
        if (i < count) {
          batch.at = i;
          result.value = pool[i];
          i += 1;
          return result;
        }
        batch.at = -1;
        return { done: true, value: undefined };
      },
      return() {
        return { done: true, value: undefined };
      },
    };
  }
}
