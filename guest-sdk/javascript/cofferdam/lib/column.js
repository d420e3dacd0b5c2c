// Columns of byte strings: one that came in, and one that is made. Nothing of records.

import { binaryOf, encode, encodeAll, hasDecoder, native, numbersOf, textOfBinary, utf8 } from "./text.js";

const NONE = new Uint8Array(0);

/** How rare a byte is in text and JSON: a search begins with the rarest of what it looks for. */
const COMMON = " etaoinsrhl\"dcu,m:fpg0w1yb2v3k4567895{}_.-";

/** A column that came in. Value `i` is `data[offsets[i]] .. data[offsets[i + 1]]`. */
export class Column {
  constructor({ data, offsets }, length) {
    this.data = data;
    this.offsets = offsets;
    this.length = length;
    // With no offsets every value is empty.
    this.absent = offsets.length === 0;
    this._numbers = undefined;
    // Once a text was asked for: all of them in one, and where each is cut out of it.
    this._text = undefined;
    this._cuts = undefined;
    this._isBinary = false;
  }

  /** A value's bytes: a view, not a copy. */
  bytes(i) {
    return this.absent ? NONE : this.data.subarray(this.offsets[i], this.offsets[i + 1]);
  }

  /** A value as text, or undefined if it is not UTF-8. */
  text(i) {
    if (this._cuts === undefined) {
      if (this.absent) return "";
      if (!this._decode()) return utf8(this.bytes(i));
    }
    const text = this._text.slice(this._cuts[i], this._cuts[i + 1]);
    return this._isBinary ? textOfBinary(text) : text;
  }

  /** Decodes all values at once, if that can be done. */
  _decode() {
    const { data, offsets } = this;
    if (native !== undefined) {
      const text = native.decode(data);
      const ascii = text !== null && text.length === data.length;
      const cuts = text === null || ascii ? null : native.units(data, this._offsets());
      if (ascii || cuts !== null) {
        this._text = text;
        this._cuts = ascii ? offsets : numbersOf(cuts);
        return true;
      }
    }
    // A character for each byte, which each value then makes a text of.
    if (hasDecoder) return false;
    this._text = binaryOf(data);
    this._cuts = offsets;
    this._isBinary = true;
    return true;
  }

  /** The offsets, as native code takes them at once. */
  _offsets() {
    if (this._numbers === undefined) {
      this._numbers = new Uint32Array(this.offsets.length);
      this._numbers.set(this.offsets);
    }
    return this._numbers;
  }

  /** All values with each byte replaced by what a table of 256 has for it, as a column. */
  mapBytes(table) {
    if (!(table instanceof Uint8Array) || table.length !== 256) throw new TypeError("`mapBytes` takes a Uint8Array of 256");
    const offsets = this._offsets();
    if (native !== undefined) return { data: native.translate(this.data, table), offsets };
    return { data: this.data.map((byte) => table[byte]), offsets };
  }

  /** Which values have these bytes (or this text) in them, as indexes in order. */
  containing(needle) {
    const wanted = typeof needle === "string" ? encode(needle) : needle;
    const size = wanted.length;
    if (size === 0) return Uint32Array.from({ length: this.length }, (_, i) => i);
    if (this.absent) return new Uint32Array(0);
    if (native !== undefined) return numbersOf(native.containing(this.data, this._offsets(), wanted));
    const { data, offsets } = this;
    const skip = rarest(wanted);
    const rare = wanted[skip];
    const next = wanted[(skip + 1) % size];
    const beside = skip + 1 < size ? 1 : 1 - size;
    const found = [];
    let row = 0;
    let at = data.indexOf(rare, skip);
    while (at >= 0) {
      if (data[at + beside] === next && matches(data, at - skip, wanted)) {
        const start = at - skip;
        while (offsets[row + 1] <= start) row += 1;
        if (start + size <= offsets[row + 1]) {
          found.push(row);
          at = data.indexOf(rare, offsets[row + 1] + skip);
          continue;
        }
      }
      at = data.indexOf(rare, at + 1);
    }
    return Uint32Array.from(found);
  }
}

function rarest(bytes) {
  let best = 0;
  let rank = -2;
  for (let i = 0; i < bytes.length; i += 1) {
    const common = COMMON.indexOf(String.fromCharCode(bytes[i] | (bytes[i] >= 65 && bytes[i] <= 90 ? 32 : 0)));
    const here = common < 0 ? COMMON.length : common;
    if (here > rank) [best, rank] = [i, here];
  }
  return best;
}

function matches(data, start, wanted) {
  for (let j = 0; j < wanted.length; j += 1) if (data[start + j] !== wanted[j]) return false;
  return true;
}

/** A column that is made: texts are encoded all at once, at the end. */
export class ColumnBuilder {
  constructor() {
    this.length = 0;
    this._texts = [];
    // Only once there are bytes, which are copied at once: their owner may write to them.
    this._ends = undefined;
    this._data = undefined;
  }

  /** Adds a value: a text, or bytes. */
  push(value) {
    if (typeof value === "string" && this._data === undefined) {
      this._texts[this.length] = value;
      this.length += 1;
      return;
    }
    this._pushBytes(typeof value === "string" ? encode(value) : value);
  }

  _pushBytes(bytes) {
    if (this._data === undefined) this._turn();
    const start = this._ends[this.length];
    const end = start + bytes.length;
    if (end > this._data.length) this._data = grown(this._data, end);
    if (this.length + 1 === this._ends.length) this._ends = grown(this._ends, this.length + 2);
    this._data.set(bytes, start);
    this.length += 1;
    this._ends[this.length] = end;
  }

  _turn() {
    this._ends = new Uint32Array(Math.max(2 * (this._texts.length + 1), 64));
    const data = encodeAll(this._texts, this._ends);
    this._data = grown(data, Math.max(data.length, 1024));
    this._texts = undefined;
  }

  /** The column, as the contract has it. */
  finish() {
    if (this._data !== undefined) {
      return { data: this._data.subarray(0, this._ends[this.length]), offsets: this._ends.subarray(0, this.length + 1) };
    }
    const offsets = new Uint32Array(this.length + 1);
    return { data: encodeAll(this._texts, offsets), offsets };
  }
}

function grown(array, least) {
  const next = new array.constructor(Math.max(least, 2 * array.length));
  next.set(array);
  return next;
}
