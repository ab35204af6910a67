import { describe, expect, test } from "bun:test";
import { RecentIds } from "../../shared/pipeline/recent-ids.ts";

describe("recent ids", () => {
  test("are forgotten earlier where they are long", () => {
    const recent = new RecentIds(1000, 100);
    const ids = Array.from({ length: 45 }, (_, i) => `${i}`.padEnd(10, "日"));
    for (const id of ids) recent.committed([id]);
    expect(ids.filter((id) => recent.has(id))).toEqual(ids.slice(30));
  });

  test("hold the newest ids, between the size and twice the size of them", () => {
    const size = 100;
    const recent = new RecentIds(size);
    for (let n = 0; n < 1000; n++) {
      expect(recent.has(`id_${n}`)).toBe(false);
      recent.committed([`id_${n}`]);
      let known = 0;
      for (let m = 0; m <= n; m++) if (recent.has(`id_${m}`)) known++;
      expect(known).toBeGreaterThanOrEqual(Math.min(n + 1, size));
      expect(known).toBeLessThanOrEqual(2 * size);
      // The known ids are the newest ones, without a gap.
      expect(recent.has(`id_${n + 1 - known}`)).toBe(true);
      expect(recent.has(`id_${n - known}`)).toBe(false);
    }
  });

  test("keep other ids when one id repeats", () => {
    const recent = new RecentIds(3);
    recent.committed(["a", "b"]);
    for (let n = 0; n < 10; n++) recent.committed(["b"]);
    expect(recent.has("a")).toBe(true);
  });

  test("start empty again after a clear", () => {
    const recent = new RecentIds(2);
    recent.committed(["a", "b"]);
    recent.committed(["c"]);
    recent.clear();
    expect(["a", "b", "c"].map((id) => recent.has(id))).toEqual([false, false, false]);
  });
});
