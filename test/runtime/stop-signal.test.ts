import { describe, expect, test } from "bun:test";
import { StopSignal } from "../../shared/runtime/stop-signal.ts";

describe("a stop signal", () => {
  test("keeps its first reason", async () => {
    const stop = new StopSignal();
    expect(stop.isRequested).toBe(false);
    stop.request("one");
    stop.request("two");
    expect([stop.isRequested, stop.reason, await stop.requested]).toEqual([true, "one", "one"]);
  });

  test("gives the value of the work, or undefined as soon as a stop is requested", async () => {
    const stop = new StopSignal();
    expect(await stop.orStopped(Promise.resolve(5))).toBe(5);
    const waiting = stop.orStopped(new Promise<number>(() => undefined));
    stop.request("enough");
    expect(await waiting).toBeUndefined();
    expect(await stop.orStopped(Promise.resolve(5))).toBeUndefined();
  });

  test("passes on a failure of the work", async () => {
    const failing = new StopSignal().orStopped(Promise.reject(new Error("broken")));
    expect(await failing.catch(String)).toBe("Error: broken");
  });
});
