// What an operator has around it: its context and configuration, its log, its metrics. Where
// these go is told by whoever runs it: the component, or the test harness.

/** An answer of the operator in words: a mistake in its configuration, or a batch that it refuses as a whole. */
export class Failure extends Error {
  constructor(message) {
    super(message);
    this.name = "Failure";
  }
}

/** A call has ended when it returns: what it promised would be lost without a word. */
export function finished(answer, what) {
  if (typeof answer?.then === "function") {
    throw new TypeError(`\`${what}\` returned a promise, and nothing outlives a call: it must do its work before it returns, without \`async\``);
  }
  return answer;
}

/** A record that cannot be processed: thrown by `processRecord` and `foldRecord`. */
export class Reject extends Error {
  constructor(reason) {
    super(reason);
    this.name = "Reject";
  }
}

const nowhere = { log() {}, counterAdd() {}, gaugeSet() {}, histogramRecord() {} };
let platform = nowhere;

/** Has logs and metrics go there; returns where they went before. */
export function setPlatform(next) {
  const before = platform;
  platform = next;
  return before;
}

function shown(part) {
  if (typeof part === "string") return part;
  if (part instanceof Error) return part.stack === undefined ? String(part) : `${part.name}: ${part.message}\n${part.stack}`;
  if (typeof part !== "object" || part === null) return String(part);
  try {
    return JSON.stringify(part) ?? String(part);
  } catch {
    return String(part);
  }
}

const at = (level) => (...parts) => platform.log(level, parts.length === 1 && typeof parts[0] === "string" ? parts[0] : parts.map(shown).join(" "));

export const log = { trace: at("trace"), debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };

export const metrics = {
  counter(name, delta = 1) {
    if (!Number.isSafeInteger(delta) || delta < 0) throw new RangeError(`counter ${name}: ${delta} is no whole number from 0 to 2^53`);
    platform.counterAdd(name, delta);
  },
  gauge(name, value) {
    platform.gaugeSet(name, Number(value));
  },
  histogram(name, value) {
    platform.histogramRecord(name, Number(value));
  },
};

const kindOf = (value) => (value === null ? "null" : Array.isArray(value) ? "a list" : typeof value === "object" ? "a table" : `a ${typeof value}`);

/** What an operator is told when it is opened. */
export class Context {
  constructor({ operator, subtask, parallelism, inputs, outputs }, config) {
    Object.assign(this, { operator, subtask, parallelism, inputs, outputs, config });
  }

  _get(key, kind, fits, otherwise) {
    const value = this.config[key];
    if (value === undefined || value === null) {
      if (otherwise === undefined) throw new Failure(`config: ${key} is missing`);
      return otherwise;
    }
    if (!fits(value)) throw new Failure(`config: ${key} must be ${kind}, and is ${kindOf(value)}`);
    return value;
  }

  text(key, otherwise) {
    return this._get(key, "a text", (value) => typeof value === "string", otherwise);
  }

  number(key, otherwise) {
    return this._get(key, "a number", (value) => typeof value === "number", otherwise);
  }

  integer(key, otherwise) {
    return this._get(key, "a whole number", Number.isSafeInteger, otherwise);
  }

  flag(key, otherwise) {
    return this._get(key, "true or false", (value) => typeof value === "boolean", otherwise);
  }
}
