import { describe, expect, test } from "bun:test";
import { Resources } from "../../shared/runtime/resources.ts";

describe("the resources of a program", () => {
  test("are released in reverse order, one after the other", async () => {
    const order: string[] = [];
    const resources = new Resources();
    for (const name of ["first", "second", "third"]) {
      resources.defer(name, 1000, async () => {
        order.push(`${name} begins`);
        await Bun.sleep(2);
        order.push(`${name} ends`);
      });
    }
    await resources.releaseAll();
    expect(order).toEqual([
      "third begins",
      "third ends",
      "second begins",
      "second ends",
      "first begins",
      "first ends",
    ]);
  });

  test("are all released, and one that fails or is late is reported", async () => {
    const problems: string[] = [];
    const resources = new Resources((problem) => problems.push(problem));
    let released = false;
    resources.defer("good", 1000, () => {
      released = true;
    });
    resources.defer("late", 10, () => new Promise(() => undefined));
    resources.defer("broken", 1000, () => {
      throw new Error("no such thing");
    });
    await resources.releaseAll();
    expect(released).toBe(true);
    expect(problems).toEqual(["closing broken: no such thing", "closing late: not done after 10 ms"]);
  });

  test("are released once, also when asked twice at the same time, and with `await using`", async () => {
    let count = 0;
    {
      await using resources = new Resources();
      resources.defer("x", 1000, async () => {
        await Bun.sleep(2);
        count++;
      });
      await Promise.all([resources.releaseAll(), resources.releaseAll()]);
    }
    expect(count).toBe(1);
  });

  test("are released too when they are deferred during the release", async () => {
    const order: string[] = [];
    const resources = new Resources();
    resources.defer("outer", 1000, () => {
      order.push("outer");
      resources.defer("inner", 1000, () => {
        order.push("inner");
      });
    });
    await resources.releaseAll();
    expect(order).toEqual(["outer", "inner"]);
  });
});
