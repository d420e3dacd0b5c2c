/**
 * Write stream operators for Cofferdam in JavaScript or TypeScript.
 *
 * An operator is a class, and the default export of its file:
 *
 * ```js
 * import { Processor } from "../cofferdam/cofferdam.js";
 *
 * export default class Shout extends Processor {
 *   processRecord(record, out) {
 *     out.emit(record, record.text().toUpperCase());
 *   }
 * }
 * ```
 *
 * Times are whole milliseconds since 1970, as numbers: exact up to 2^53.
 */

/** What can be written as a value or a key: text and bytes as they are, anything else as JSON. */
export type Writable = string | Uint8Array | number | boolean | null | object;

/** A column of byte strings: value `i` is `data[offsets[i]] .. data[offsets[i + 1]]`. With no offsets every value is empty. */
export interface Columnar {
  readonly data: Uint8Array;
  readonly offsets: ArrayLike<number> & { readonly length: number };
}

/** A column of a batch that came in. */
export interface Column extends Columnar {
  /** How many values. */
  readonly length: number;
  /** Whether the stream has no such column: every value is empty. */
  readonly absent: boolean;
  /** A value's bytes: a view, not a copy. */
  bytes(index: number): Uint8Array;
  /** A value as text; `undefined` if it is not UTF-8. */
  text(index: number): string | undefined;
  /** Which values have this text, or these bytes, in them: indexes in order, for {@link Outcome.keepAll}. Searches all values at once. */
  containing(needle: string | Uint8Array): Uint32Array;
  /** All values, with each byte replaced by what a table of 256 bytes has for it, for {@link Outcome.emitAll}. Native code, as `containing`. */
  mapBytes(table: Uint8Array): Columnar;
}

/** What an emitted record may stem from: it takes key, value and time from there, unless they are given. */
export interface Origin {
  /** Its index in the call, from 0. */
  readonly index: number;
}

/** A record of a batch. Good for the call in which it came: later, the object stands for another one. */
export interface Record extends Origin {
  /** The value: a view, not a copy. */
  bytes(): Uint8Array;
  /** The value as text. Throws {@link NotUtf8}. */
  text(): string;
  /** The value, read as JSON. Throws {@link NotUtf8} or {@link NotJson}. */
  json(): any;
  /** The key, empty if there is none: a view, not a copy. */
  keyBytes(): Uint8Array;
  /** The key as text, empty if there is none. Throws {@link NotUtf8}. */
  key(): string;
  /** Event time in milliseconds since 1970; `undefined` where the stream has none. */
  readonly timestamp: number | undefined;
}

/** The records of a call, in order. */
export interface Batch extends Iterable<Record> {
  /** The input port that they came in by, from 0. */
  readonly input: number;
  /** How many. */
  readonly length: number;
  /** All keys. */
  readonly keys: Column;
  /** All values. */
  readonly values: Column;
  /** A record by its index, from 0. */
  record(index: number): Record;
  /** The event time of a record; `undefined` where the stream has none. */
  timestamp(index: number): number | undefined;
}

/** What of an emitted record is not as in its origin. */
export interface Emission {
  /** Its key. */
  key?: Writable;
  /** Its event time in milliseconds since 1970. */
  timestamp?: number;
  /** The output port, 0 to 255; 0 if not given. */
  port?: number;
}

/** Where an operator puts what it makes of a call. */
export interface Outcome {
  /** Lets a record through as it is: nothing of it is copied. */
  keep(record: Record, port?: number): void;
  /** Lets these records of the batch through as they are, by their indexes; all of them if none are given. */
  keepAll(indexes?: Iterable<number>, port?: number): void;
  /** Emits a record with this value. Key and time are those of the origin, unless `more` has others; so is the value if it is `undefined`. */
  emit(origin: Origin, value: Writable | undefined, more?: Emission): void;
  /** Emits a record that stems from none: without a key and an event time, unless `more` has them. */
  emitFresh(value: Writable, more?: Emission): void;
  /**
   * Emits many records at once. Record `i` stems from record `from[i]`, or from record `i` if `from` is not given;
   * columns that are given are instead of those of the origin.
   */
  emitAll(columns: {
    from?: Iterable<number>;
    keys?: Columnar | Iterable<Writable>;
    values?: Columnar | Iterable<Writable>;
    timestamps?: readonly number[] | BigInt64Array;
    port?: number;
  }): void;
  /** Refuses a record: it goes to the operator's dead letters, with the reason. */
  reject(record: Record, reason: string): void;
}

/** What an operator is told when it is opened. */
export interface Context {
  /** The operator's name in the job. */
  readonly operator: string;
  /** Which of the parallel instances this is, from 0. */
  readonly subtask: number;
  /** How many parallel instances there are. */
  readonly parallelism: number;
  /** How many inputs are connected. */
  readonly inputs: number;
  /** How many output ports the job has named. */
  readonly outputs: number;
  /** The whole configuration: the `config` table of the job file. */
  readonly config: { readonly [key: string]: unknown };
  /** A text of the configuration. Without `otherwise` it is required. Throws {@link Failure}. */
  text(key: string, otherwise?: string): string;
  /** A number of the configuration, as `text`. */
  number(key: string, otherwise?: number): number;
  /** A whole number of the configuration, as `text`. */
  integer(key: string, otherwise?: number): number;
  /** `true` or `false` of the configuration, as `text`. */
  flag(key: string, otherwise?: boolean): boolean;
}

/**
 * An operator whose answer depends on the batch alone, or on state in its own memory.
 * Has `process` or `processRecord`. With `snapshot` and `restore` (world `stateful-operator`) its state lives on.
 */
export class Processor {
  /** Called once, first. Read and check the configuration here. A {@link Failure} stops the job. */
  open(context: Context): void;
  /** Takes a batch. If it is not there, `processRecord` is called for each record. */
  process(batch: Batch, out: Outcome): void;
  /** Takes a record. May throw {@link Reject}. */
  processRecord(record: Record, out: Outcome): void;
  /** Called after the last batch of a bounded input: the last chance to emit, by `emitFresh`. */
  finish(out: Outcome): void;
  /** What a fresh instance needs to go on from here. */
  snapshot?(): Uint8Array;
  /** Called after `open` and before the first batch, with what `snapshot` gave. */
  restore?(state: Uint8Array): void;
}

/** A window of event time, in milliseconds since 1970. */
export interface Window {
  /** The first millisecond. */
  readonly start: number;
  /** The first millisecond after it. */
  readonly end: number;
}

/** Which time a timer waits for: `event`, until the watermark has passed it, or `processing`, until the host's clock has. */
export type TimerKind = "event" | "processing";

/** Why a group is fired. Records may stem from it: they have the group's key and the firing's time. */
export interface Firing extends Origin {
  /** A timer of that kind is due, or the group's window has ended. */
  readonly kind: TimerKind | "window";
  /** The timer's time in milliseconds since 1970; for a window its last millisecond. */
  readonly time: number;
}

/** One key of a call, or one pair of key and window: its state, its records, its timers. Iterating gives its records, in order of arrival. Good for the call of `foldRecord`, `fold` or `fire` in which it came. */
export interface Group<State = any> extends Iterable<Record> {
  /** The key as text. Throws {@link NotUtf8}. */
  readonly key: string;
  /** The key's bytes: a view, not a copy. */
  readonly keyBytes: Uint8Array;
  /** The window, where the job gives the operator windows. */
  readonly window: Window | undefined;
  /** The input port that the records came in by. */
  readonly input: number;
  /** How many records; 0 in `fire`. */
  readonly length: number;
  /** The last record; `undefined` in `fire`. */
  readonly last: Record | undefined;
  /** The state; `undefined` for a new key. Change it or set it; `undefined` deletes it. It is encoded once a call. */
  state: State | undefined;
  /** No record older than this is expected any more; `undefined` before the first watermark. */
  readonly watermark: number | undefined;
  /** The host's clock. Use it and no other, so that a replay does the same again. */
  readonly processingTime: number;
  /** Has `fire` called when this time has passed. Setting a timer twice is setting it once. */
  setTimer(kind: TimerKind, at: number): void;
  /** Deletes a timer; nothing happens if it is not set. */
  deleteTimer(kind: TimerKind, at: number): void;
}

/** How states become bytes, and bytes states. No bytes at all mean no state. */
export interface Codec<State> {
  /** The state of these bytes. */
  decode?(state: Uint8Array): State;
  /** Instead of `decode`: the state of this text. */
  decodeText?(state: string): State;
  /** The bytes of a state, or its text. */
  encode(state: State): Uint8Array | string;
}

/** States as JSON: the codec if none is given. */
export const jsonCodec: Codec<any>;
/** States that are bytes themselves. */
export const bytesCodec: Codec<Uint8Array>;

/**
 * An operator with state by key, which the host keeps: whatever it knows of a key is in the group's state, and what it keeps in
 * `this` must follow from the configuration. Has `fold` or `foldRecord`. With `merge` (world `session-operator`) it can run in session windows.
 */
export class KeyedProcessor<State = any> {
  /** How states are written: {@link jsonCodec}, unless you set another one. */
  codec: Codec<State>;
  /** Called once, first. Read and check the configuration here. A {@link Failure} stops the job. */
  open(context: Context): void;
  /** Folds a group's records into its state. If it is not there, `foldRecord` is called for each record. */
  fold(group: Group<State>, out: Outcome): void;
  /** Folds a record into the state of its group. May throw {@link Reject}. */
  foldRecord(group: Group<State>, record: Record, out: Outcome): void;
  /** A timer of the group is due, or its window has ended. A window's state is the host's to remove. */
  fire(group: Group<State>, firing: Firing, out: Outcome): void;
  /** The state of the session that is made of two. */
  merge?(key: Uint8Array, earlier: State, later: State): State | undefined;
  /** Throws if a state that another version of the operator left cannot be used. */
  check?(key: Uint8Array, state: State): void;
}

/** A batch, or the configuration, that the operator refuses: the host is told the message, and the job fails under its restart strategy. */
export class Failure extends Error {
  constructor(message: string);
}

/** A record that cannot be processed, thrown by `processRecord` or `foldRecord`: it goes to the dead letters. */
export class Reject extends Error {
  constructor(reason: string);
}

/** Bytes that should be text are not UTF-8: a {@link Reject}, if `processRecord` or `foldRecord` does not catch it. */
export class NotUtf8 extends Reject {}

/** A text that should be JSON is none: likewise. */
export class NotJson extends Reject {}

/** The text of these bytes; `undefined` if they are not UTF-8. */
export function utf8(bytes: Uint8Array): string | undefined;

/** A text as UTF-8. */
export function encode(text: string): Uint8Array;

/** Log lines, which the host shows with the operator's name. What is no text is written as JSON. `console.log` and so on go there, too. */
export const log: { readonly [level in "trace" | "debug" | "info" | "warn" | "error"]: (...parts: unknown[]) => void };

/** The operator's own metrics. The host adds tenant, job, operator and subtask. */
export const metrics: {
  /** Adds to a counter, 1 if nothing is said. `delta` is a whole number from 0 to 2^53. */
  counter(name: string, delta?: number): void;
  /** Sets a gauge. */
  gauge(name: string, value: number): void;
  /** Adds one observation to a histogram. */
  histogram(name: string, value: number): void;
};
