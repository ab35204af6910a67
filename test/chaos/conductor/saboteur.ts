// Loaded into each consumer of a chaos run before its program: breaks a thread or a clock when a file asks for it.
//
// The file holds one line: `crash`, `hang`, or `clock <speed> <shift in ms>`. The program itself has no hook for this.
import { readFileSync } from "node:fs";
import { isMainThread, threadId } from "node:worker_threads";

const POLL_MS = 100;
const path = process.env["CHAOS_SABOTAGE"];
const realNow = Date.now;
const RealDate = Date;
let done = "";

if (path !== undefined) {
  if (isMainThread) preloadIntoThreads();
  setInterval(() => obey(readOrder(path)), POLL_MS).unref();
}

function readOrder(file: string): string {
  try {
    return readFileSync(file, "utf8").trim();
  } catch {
    return "";
  }
}

function obey(order: string): void {
  if (order === done) return;
  done = order;
  const [what, ...values] = order.split(" ");
  if (what === "clock" || order === "") setClock(Number(values[0] ?? 1), Number(values[1] ?? 0));
  // One thread of the process breaks; the others must go on, or drain.
  if (threadId !== 1) return;
  if (what === "crash") {
    setTimeout(() => {
      throw new Error("sabotage: this thread crashes");
    });
  }
  if (what === "hang") {
    process.stderr.write("sabotage: this thread hangs\n");
    for (;;);
  }
}

/** The clock of the operating system as this process sees it: at another speed, and shifted. */
function setClock(speed: number, shiftMs: number): void {
  const since = realNow();
  const now = () => since + (realNow() - since) * speed + shiftMs;
  globalThis.Date = class extends RealDate {
    constructor(...values: unknown[]) {
      // @ts-expect-error -- Date takes one to seven values of several types
      super(...(values.length === 0 ? [now()] : values));
    }
    static override now = now;
  } as DateConstructor;
  if (isMainThread) process.stderr.write(`sabotage: the clock says ${new Date().toISOString()}\n`);
}

/** A preload of the command line runs in the main thread only. */
function preloadIntoThreads(): void {
  const RealWorker = globalThis.Worker;
  globalThis.Worker = class extends RealWorker {
    constructor(url: string | URL, options: ConstructorParameters<typeof RealWorker>[1] = {}) {
      super(url, { ...options, preload: [import.meta.path] });
    }
  };
}
