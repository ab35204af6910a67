// Replaces the clocks, timers and chance of the runtime while a history runs, so that nothing in it can use real ones.

import { NOW_MS } from "../pipeline/record.ts";
import type { Scheduler } from "./postgres/scheduler.ts";

/** A timer as the runtime gives it. */
function timerOf(time: Scheduler, ms: number, run: () => void, isRepeated: boolean) {
  let current = time.after(ms, fire);
  function fire(): void {
    if (isRepeated) current = time.after(ms, fire);
    run();
  }
  const timer = { cancel: () => current.cancel(), ref: () => timer, unref: () => timer };
  return timer;
}

/** Runs a history. Clocks and timers of the runtime follow virtual time until it returns; it must end without awaiting. */
export function withVirtualGlobals<T>(time: Scheduler, run: () => T): T {
  const realNow = Reflect.get(performance, "now");
  const realUUID = Reflect.get(crypto, "randomUUID");
  const real = {
    dateNow: Date.now,
    random: Math.random,
    setTimeout: globalThis.setTimeout,
    clearTimeout: globalThis.clearTimeout,
    setInterval: globalThis.setInterval,
    clearInterval: globalThis.clearInterval,
    setImmediate: globalThis.setImmediate,
    sleep: Bun.sleep,
  };
  const forbidden = (what: string) => () => {
    throw new Error(`${what} is used in a history`);
  };
  const clear = (timer: { cancel(): void } | undefined): void => timer?.cancel();
  let uuids = 0;
  performance.now = () => time.nowMs();
  Date.now = () => NOW_MS + time.nowMs();
  Math.random = () => time.random();
  crypto.randomUUID = () => `00000000-0000-4000-8000-${String(++uuids).padStart(12, "0")}`;
  Object.assign(globalThis, {
    setTimeout: (body: () => void, ms = 0) => timerOf(time, ms, body, false),
    setInterval: (body: () => void, ms = 0) => timerOf(time, ms, body, true),
    clearTimeout: clear,
    clearInterval: clear,
    setImmediate: forbidden("setImmediate"),
  });
  Bun.sleep = forbidden("Bun.sleep");
  try {
    return run();
  } finally {
    performance.now = realNow;
    Date.now = real.dateNow;
    Math.random = real.random;
    crypto.randomUUID = realUUID;
    Bun.sleep = real.sleep;
    Object.assign(globalThis, {
      setTimeout: real.setTimeout,
      clearTimeout: real.clearTimeout,
      setInterval: real.setInterval,
      clearInterval: real.clearInterval,
      setImmediate: real.setImmediate,
    });
  }
}
