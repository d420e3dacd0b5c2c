// An operator's class as the exports of a component. What an author sees is elsewhere.

import { Batch } from "./batch.js";
import { Context, Failure, log, setPlatform } from "./context.js";
import { reportOf } from "./crash.js";
import * as keyed from "./keyed.js";
import { Outcome } from "./outcome.js";

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
 * `imports` are the contract's capabilities; `trap` ends the instance, and never returns.
 */
export function exportsOf(Operator, { log: hostLog, config, metrics }, trap) {
  if (typeof Operator !== "function") {
    throw new TypeError("the operator's file must `export default` a class that extends Processor or KeyedProcessor");
  }
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
    operator = new Operator();
    operator.open(new Context(raw, JSON.parse(config.all())));
  });
  const found = {};
  if (typeof Operator.prototype.process === "function") {
    found.processor = {
      open,
      process: guarded((input, raw) => {
        const out = new Outcome(raw.len);
        operator.process(batch.load(input, raw), out);
        return out.finish();
      }),
      finish: guarded(() => {
        const out = new Outcome(0);
        operator.finish(out);
        return out.finish();
      }),
    };
    if (typeof Operator.prototype.snapshot === "function") {
      found.snapshot = {
        snapshot: guarded(() => bytesOf(operator.snapshot())),
        restore: guarded((state) => {
          operator.restore(state);
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

function bytesOf(state) {
  if (state instanceof Uint8Array) return state;
  throw new TypeError("`snapshot` must return a Uint8Array; `encode` makes one of a text");
}
