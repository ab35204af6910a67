import { expect, test } from "bun:test";
import { Hub } from "../../shared/console/hub.ts";
import { eventually } from "../support/eventually.ts";

test("a slow browser delays no other, and gets the newest values when it is ready", async () => {
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
  await eventually("the quick browser has four messages", () => quick.length >= 4);
  expect(slow).toHaveLength(1);
  const missed = read;
  stuck.resolve(true);
  await eventually("the slow browser has a second message", () => slow.length >= 2);
  // Of what it missed it gets only the newest value, and only of the section that has changed.
  const [, number] = /^event: number\ndata: (\d+)\n\n$/.exec(slow[1]!) ?? [];
  expect(Number(number)).toBeGreaterThanOrEqual(missed);
  hub.close();
  await Promise.all([slowWatch, quickWatch]);
  expect(hub.watchers).toBe(0);
});

test("a slow update of one section does not delay the others", async () => {
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

test("a stream on which nothing changes still gets something at every tick", async () => {
  const hub = new Hub({ section: { read: () => 1 } });
  const seen: string[] = [];
  await hub.watch(async (text) => seen.push(text) < 3);
  // Comments, which a browser ignores.
  expect(seen).toEqual(["event: section\ndata: 1\n\n", ":\n\n", ":\n\n"]);
});

test("a section that cannot be read ends the streams, but not the hub", async () => {
  let isBroken = true;
  const hub = new Hub({
    section: {
      read: () => {
        if (isBroken) throw new Error("unreadable");
        return 1;
      },
    },
  });
  const watch = (): Promise<unknown> => hub.watch(async () => isBroken).catch((error: unknown) => error);
  const error = new Error("unreadable");
  expect(await Promise.all([watch(), watch()])).toEqual([error, error]);
  expect(hub.watchers).toBe(0);
  isBroken = false;
  expect(await watch()).toBeUndefined();
});
