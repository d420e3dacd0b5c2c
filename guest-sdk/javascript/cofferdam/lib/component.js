// An operator's class as the exports of a component. What an author sees is elsewhere.

import { KeyedProcessor, Processor } from "../cofferdam.js";
import { Batch } from "./batch.js";
import { Context, Failure, finished, log, setPlatform } from "./context.js";
import { reportOf } from "./crash.js";
import * as keyed from "./keyed.js";
import { Outcome } from "./outcome.js";
import { useNative } from "./text.js";

function noClock() {
  throw new Error("there is no clock here, so that a replay does the same again: use record.timestamp, group.watermark or group.processingTime");
}

/** The engine's clock is not there; asking for it would end the instance without a word. */
function withoutClock() {
  Date.now = noClock;
  globalThis.Date = new Proxy(Date, {
    construct: (target, args, made) => (args.length === 0 ? noClock() : Reflect.construct(target, args, made)),
    apply: noClock,
  });
  Object.defineProperty(globalThis, "performance", { value: { now: noClock, timeOrigin: 0 }, configurable: true, writable: true });
}

/**
 * The exports of a component: those of the contract that the class has something for.
 *
 * `imports` are the contract's capabilities, and `columns`, if they are linked in; `trap` ends the instance, and never returns.
 */
export function exportsOf(Operator, { log: hostLog, config, metrics, columns }, trap) {
  if (typeof Operator !== "function") {
    throw new TypeError("the operator's file must `export default` a class that extends Processor or KeyedProcessor");
  }
  refuseEmpty(Operator);
  refuseAsync(Operator);
  setPlatform({ log: hostLog.log, counterAdd: metrics.counterAdd, gaugeSet: metrics.gaugeSet, histogramRecord: metrics.histogramRecord });
  globalThis.console = { ...globalThis.console, trace: log.trace, debug: log.debug, log: log.info, info: log.info, warn: log.warn, error: log.error };
  Error.stackTraceLimit = 50;
  withoutClock();
  const batch = new Batch();
  let operator;

  // What was meant to be said is said; anything else is a crash, which the host's log explains.
  const guarded = (call) => (...args) => {
    try {
      batch.at = -1;
      return call(...args);
    } catch (error) {
      if (error instanceof Failure) throw error.message;
      try {
        hostLog.log("error", reportOf(error, batch.at));
      } catch {
        // Out of memory, or of stack: the trap says that there was something.
      }
      return trap(error);
    }
  };

  const open = guarded((raw) => {
    useNative(columns);
    operator = new Operator();
    finished(operator.open(new Context(raw, JSON.parse(config.all()))), "open");
  });
  const found = {};
  if (typeof Operator.prototype.process === "function") {
    found.processor = {
      open,
      process: guarded((input, raw) => {
        const out = new Outcome(raw.len);
        finished(operator.process(batch.load(input, raw), out), "process");
        return out.finish();
      }),
      finish: guarded(() => {
        const out = new Outcome(0);
        finished(operator.finish(out), "finish");
        return out.finish();
      }),
    };
    if (typeof Operator.prototype.snapshot === "function") {
      found.snapshot = {
        snapshot: guarded(() => bytesOf(finished(operator.snapshot(), "snapshot"))),
        restore: guarded((state) => {
          finished(operator.restore(state), "restore");
        }),
      };
    }
  }
  if (typeof Operator.prototype.fold === "function") {
    found.keyedProcessor = {
      open,
      fold: guarded((now, input, raw, groups) => keyed.fold(operator, batch.load(input, raw), now, groups)),
      fire: guarded((now, due, groups) => keyed.fire(operator, now, due, groups)),
    };
    if (typeof Operator.prototype.merge === "function") {
      found.sessionMerge = { merge: guarded((keys, left, right) => keyed.merge(operator, keys, left, right)) };
    }
    if (typeof Operator.prototype.check === "function") {
      found.stateCheck = { check: guarded((keys, states) => keyed.check(operator, keys, states)) };
    }
  }
  return found;
}

const CALLED = ["open", "process", "processRecord", "finish", "snapshot", "restore", "fold", "foldRecord", "fire", "merge", "check"];

/** Told at build, where it can be. */
function refuseEmpty({ name, prototype }) {
  for (const [Base, ...methods] of [[Processor, "process", "processRecord"], [KeyedProcessor, "fold", "foldRecord"]]) {
    if (!(prototype instanceof Base) || methods.some((method) => prototype[method] !== Base.prototype[method])) continue;
    throw new TypeError(`${name} has neither ${methods.map((method) => `\`${method}\``).join(" nor ")}`);
  }
}

/** Told at build, too, where it can be: `finished` tells the rest. */
function refuseAsync({ name, prototype }) {
  const found = CALLED.find((method) => Object.prototype.toString.call(prototype?.[method]) === "[object AsyncFunction]");
  if (found === undefined) return;
  throw new TypeError(`\`${found}\` of ${name} is \`async\`, and nothing outlives a call: it must do its work before it returns`);
}

function bytesOf(state) {
  if (state instanceof Uint8Array) return state;
  throw new TypeError("`snapshot` must return a Uint8Array; `encode` makes one of a text");
}
