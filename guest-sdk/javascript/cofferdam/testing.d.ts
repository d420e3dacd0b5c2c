/** A host for native tests (`node --test`), without Wasm: it groups, keeps states and timers, and checks answers as the real host does. */

import type { KeyedProcessor, Processor, TimerKind, Window } from "./cofferdam.js";

/** A record to send; a text or bytes alone are a value. Other values are sent as JSON. All records of a batch have a timestamp, or none has. */
export type TestRecord = string | Uint8Array | { key?: string | Uint8Array; value?: unknown; timestamp?: number };

/** A record that came out; bytes where it is not UTF-8. Absent fields are not there. */
export interface EmittedRecord {
  key?: string | Uint8Array;
  value: string | Uint8Array;
  timestamp?: number;
}

/** What an operator made of a call. */
export interface Answer {
  /** The records of an output port, in order of emission. */
  records(port?: number): EmittedRecord[];
  /** Their values. */
  values(port?: number): (string | Uint8Array)[];
  /** Their values, read as JSON. */
  json(port?: number): any[];
  /** Which ports there are records of. */
  readonly ports: number[];
  /** Records that were rejected. */
  readonly rejected: { index: number; reason: string }[];
  /** Which records came too late for all their windows. */
  readonly late: number[];
}

/** How an operator is run. Lengths are in milliseconds. */
export interface HarnessOptions {
  config?: object;
  /** Tumbling, sliding, or session windows. */
  window?: { size: number; slide?: number; offset?: number } | { gap: number };
  /** How late a record may be for its window. */
  allowedLateness?: number;
  operator?: string;
  subtask?: number;
  parallelism?: number;
  inputs?: number;
  outputs?: number;
}

/** Runs one operator. What it throws comes through. */
export class Harness<Operator extends Processor | KeyedProcessor = any> {
  constructor(operator: new () => Operator, options?: HarnessOptions);
  /** The operator itself. */
  readonly operator: Operator;
  /** Sends one batch by an input port. */
  send(records: Iterable<TestRecord>, input?: number): Answer;
  /** Ends the input: `finish`, or event time passes everything. */
  finish(): Answer;
  /** Moves event time on: fires the windows and timers that are due. */
  advanceWatermark(to: number): Answer;
  /** Moves the host's clock on: fires the processing-time timers that are due. */
  advanceTime(to: number): Answer;
  /** The state of a key, or of a key and window. */
  state(key: string | Uint8Array, window?: Window): any;
  /** Sets the state of a key, or of a key and window. */
  setState(key: string | Uint8Array, state: unknown, window?: Window): void;
  /** How many states there are. */
  readonly states: number;
  /** The timers that are set, by time. */
  readonly timers: { key: string | Uint8Array; kind: TimerKind; at: number; window?: Window }[];
  /** What the operator would go on from. */
  snapshot(): Uint8Array;
  /** Goes on from there. */
  restore(state: Uint8Array): void;
  /** What was logged so far. */
  readonly logs: { level: string; message: string }[];
  /** The value of a counter; 0 if it was never added to. */
  counter(name: string): number;
  /** The value of a gauge, if it was ever set. */
  gauge(name: string): number | undefined;
  /** The observations of a histogram, in order. */
  histogram(name: string): number[];
}
