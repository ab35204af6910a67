import { describe, expect, test } from "bun:test";
import { Notifier } from "../../shared/runtime/notifier.ts";

const FOREVER_MS = 60_000;

describe("a notifier", () => {
  test("wakes the loop that waits", async () => {
    const notifier = new Notifier();
    const waiting = notifier.wait(FOREVER_MS);
    notifier.notify();
    await waiting;
  });

  test("keeps a notification that comes while nothing waits, and only one", async () => {
    const notifier = new Notifier();
    notifier.notify();
    notifier.notify();
    await notifier.wait(FOREVER_MS);
    let isWoken = false;
    const waiting = notifier.wait(FOREVER_MS).then(() => (isWoken = true));
    await Bun.sleep(5);
    expect(isWoken).toBe(false);
    notifier.notify();
    await waiting;
  });

  test("gives up after the time to wait", async () => {
    await new Notifier().wait(1);
  });
});
