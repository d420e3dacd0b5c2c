// What a test sends, and what comes back: records, gathered from emissions as the host does it.

import { ColumnBuilder, Column } from "./column.js";
import { utf8 } from "./text.js";

const NONE = new Uint8Array(0);
const asBytes = (value) => (value instanceof Uint8Array ? value : Buffer.from(typeof value === "string" ? value : JSON.stringify(value)));

/** The records of a call: text alone is a value. */
export class Inputs {
  constructor(records) {
    this.records = Array.from(records, (record) => {
      const given = typeof record === "string" || record instanceof Uint8Array ? { value: record } : record;
      return {
        key: given.key === undefined ? undefined : asBytes(given.key),
        value: asBytes(given.value ?? ""),
        timestamp: given.timestamp,
      };
    });
    const timed = this.records.filter(({ timestamp }) => timestamp !== undefined).length;
    if (timed !== 0 && timed !== this.records.length) throw new Error("give all records of a batch a timestamp, or none");
    this.timed = timed !== 0;
  }

  /** Firings, as emissions see them: the key, an empty value, the firing's time. */
  static ofFirings(due) {
    return new Inputs(due.map(({ key, time }) => ({ key, value: NONE, timestamp: time })));
  }

  time(i) {
    return this.records[i].timestamp;
  }

  /** The batch, as the contract has it. */
  raw() {
    const column = (values) => {
      const builder = new ColumnBuilder();
      for (const value of values) builder.push(value);
      return builder.finish();
    };
    const keyed = this.records.some(({ key }) => key !== undefined);
    return {
      len: this.records.length,
      keys: keyed ? column(this.records.map(({ key }) => key ?? NONE)) : { data: NONE, offsets: [] },
      values: column(this.records.map(({ value }) => value)),
      timestamps: this.timed ? this.records.map(({ timestamp }) => timestamp) : [],
    };
  }
}

/** A column of an emission: lengths must agree, as for the host. */
function columnOf(what, raw, count, port) {
  if (raw === undefined) return undefined;
  if (raw.offsets.length !== count + 1) throw new Error(`an emission to port ${port} has ${raw.offsets.length - 1} ${what} for ${count} records`);
  return new Column(raw, count);
}

export class Answer {
  constructor({ emissions, rejected }, inputs, late = []) {
    this._ports = new Map();
    this.late = late;
    this.rejected = rejected.slice();
    for (const { port, origin, keys, values, timestamps } of emissions) {
      const records = inputs.records;
      const rows = origin.tag === "same" ? records.map((_, i) => i) : origin.tag === "keep" ? [...origin.val] : undefined;
      const count = rows?.length ?? (values ?? keys).offsets.length - 1;
      const [newKeys, newValues] = [columnOf("keys", keys, count, port), columnOf("values", values, count, port)];
      for (let i = 0; i < count; i += 1) {
        const from = rows === undefined ? {} : records[rows[i]];
        if (from === undefined) throw new Error(`an emission to port ${port} stems from record ${rows[i]}, and there are ${records.length}`);
        const key = newKeys === undefined ? from.key : newKeys.bytes(i).slice();
        const timestamp = timestamps === undefined ? from.timestamp : Number(timestamps[i]);
        this._push(port, { key, value: newValues === undefined ? (from.value ?? NONE) : newValues.bytes(i).slice(), timestamp });
      }
    }
  }

  _push(port, record) {
    if (!this._ports.has(port)) this._ports.set(port, []);
    this._ports.get(port).push(record);
  }

  /** This answer, and then another one. */
  with(other) {
    for (const [port, records] of other._ports) for (const record of records) this._push(port, record);
    this.rejected.push(...other.rejected);
    return this;
  }

  records(port = 0) {
    return (this._ports.get(port) ?? []).map(({ key, value, timestamp }) => {
      const record = { value: utf8(value) ?? value };
      if (key !== undefined) record.key = utf8(key) ?? key;
      if (timestamp !== undefined) record.timestamp = timestamp;
      return record;
    });
  }

  values(port = 0) {
    return this.records(port).map(({ value }) => value);
  }

  json(port = 0) {
    return this.values(port).map((value) => JSON.parse(value));
  }

  get ports() {
    return [...this._ports.keys()].sort((a, b) => a - b);
  }
}
