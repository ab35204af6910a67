import { expect, test } from "bun:test";
import { Hub } from "../../shared/console/hub.ts";
import { eventually } from "../support/eventually.ts";

test("a browser that does not take what it is sent has nothing kept for it, and holds up no other", async () => {
  let read = 0;
  const hub = new Hub({ number: { read: () => ++read }, word: { read: () => "same" } });
  const stuck = Promise.withResolvers<boolean>();
  const slow: string[] = [];
  const quick: string[] = [];
  const slowWatch = hub.watch((text) => {
    slow.push(text);
    return slow.length === 1 ? stuck.promise : Promise.resolve(true);
  });
  const quickWatch = hub.watch(async (text) => {
    quick.push(text);
    return true;
  });
  await eventually("the quick one has seen four", () => quick.length >= 4);
  expect(slow).toHaveLength(1);
  stuck.resolve(true);
  await eventually("the slow one goes on", () => slow.length >= 2);
  // Of all that it missed, the newest of what has changed.
  expect(slow[1]).toBe(`event: number\ndata: ${read}\n\n`);
  hub.close();
  await Promise.all([slowWatch, quickWatch]);
  expect(hub.watchers).toBe(0);
});

test("what takes long to bring up to date does not hold up the rest", async () => {
  const never = Promise.withResolvers<void>();
  const hub = new Hub({
    here: { read: () => 1 },
    there: { read: () => "old", refresh: () => never.promise },
  });
  const seen: string[] = [];
  await hub.watch(async (text) => {
    seen.push(text);
    return false;
  });
  expect(seen).toEqual(['event: here\ndata: 1\n\nevent: there\ndata: "old"\n\n']);
  never.resolve();
});

test("a section that cannot be read ends the streams, and nothing else", async () => {
  let isBroken = true;
  const hub = new Hub({
    section: {
      read: () => {
        if (isBroken) throw new Error("not to be read");
        return 1;
      },
    },
  });
  const watch = (): Promise<unknown> => hub.watch(async () => isBroken).catch((error: unknown) => error);
  const error = new Error("not to be read");
  expect(await Promise.all([watch(), watch()])).toEqual([error, error]);
  expect(hub.watchers).toBe(0);
  isBroken = false;
  expect(await watch()).toBeUndefined();
});
