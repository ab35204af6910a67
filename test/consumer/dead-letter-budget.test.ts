import { describe, expect, test } from "bun:test";
import { DeadLetterBudget } from "../../workers/consumer/dead-letter-budget.ts";

const SPAN = { topicId: "id", reading: 0 };

/** Notes a dead letter at each offset. @returns where the limit was exceeded */
function exceededAt(budget: DeadLetterBudget, offsets: readonly number[], span = SPAN, slot = 0): number[] {
  return offsets.filter((offset) => budget.note(slot, span, offset, "not_json") !== undefined);
}

const range = (from: number, count: number, step = 1) =>
  Array.from({ length: count }, (_, n) => from + n * step);

describe("the budget of dead letters", () => {
  test("is exceeded by more than the share of the last 1,000 offsets", () => {
    expect(exceededAt(new DeadLetterBudget(0.1), range(0, 102))).toEqual([100, 101]);
    expect(exceededAt(new DeadLetterBudget(0), [7])).toEqual([7]);
  });

  test("is not exceeded by the same number over more records", () => {
    expect(exceededAt(new DeadLetterBudget(0.1), range(0, 1000, 10))).toEqual([]);
    expect(exceededAt(new DeadLetterBudget(0.1), range(0, 1000, 9)).length).toBeGreaterThan(0);
  });

  test("is never exceeded without a limit, or with one of 1", () => {
    expect(exceededAt(new DeadLetterBudget(undefined), range(0, 3000))).toEqual([]);
    expect(exceededAt(new DeadLetterBudget(1), range(0, 3000))).toEqual([]);
  });

  test("counts a record that is read again once, and then judges it as before", () => {
    const budget = new DeadLetterBudget(0.1);
    for (let attempt = 0; attempt < 5; attempt++) {
      expect(exceededAt(budget, range(0, 101))).toEqual([100]);
      expect(exceededAt(budget, range(50, 51))).toEqual([100]);
    }
  });

  test("counts each partition alone, and from zero for another topic id or reading", () => {
    const budget = new DeadLetterBudget(0.1);
    expect(exceededAt(budget, range(0, 100))).toEqual([]);
    expect(exceededAt(budget, range(100, 1), SPAN, 1)).toEqual([]);
    expect(exceededAt(budget, range(0, 100), { topicId: "other", reading: 0 })).toEqual([]);
    expect(exceededAt(budget, range(0, 100), { topicId: "other", reading: 1 })).toEqual([]);
    expect(exceededAt(budget, [100], { topicId: "other", reading: 1 })).toEqual([100]);
  });

  test("names the most frequent reason", () => {
    const budget = new DeadLetterBudget(0.002);
    budget.note(0, SPAN, 1, "too_deep");
    budget.note(0, SPAN, 2, "not_json");
    expect(budget.note(0, SPAN, 3, "too_deep")).toEqual({
      deadLetters: 3,
      reason: "too_deep",
      because:
        "3 of its last 1000 records are dead letters, 2 of them too_deep: more than DEAD_LETTER_LIMIT=0.002 allows",
    });
  });
});
