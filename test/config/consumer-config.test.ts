import { describe, expect, test } from "bun:test";
import { loadConfig } from "../../shared/config/config.ts";
import { problemsOf } from "./problems-of.ts";

describe("the number of workers", () => {
  test.each([
    // processors, min, max, workers
    [4, 2, 10, 4],
    [1, 2, 10, 1],
    [16, 2, 10, 8],
    [2, 7, 10, 6],
    [2, 10, 10, 8],
    [64, 1, 3, 1],
  ])("with %d processors and %d to %d connections is %d", (processors, min, max, workers) => {
    const environment = { DB_MIN_CONNECTIONS: `${min}`, DB_MAX_CONNECTIONS: `${max}` };
    expect(loadConfig(environment, "consumer", processors).consumer.workers).toBe(workers);
  });

  test("can be as many as the connections allow, and not more", () => {
    expect(problemsOf({ CONSUMER_WORKERS: "9", DB_MAX_CONNECTIONS: "10" })).toHaveLength(1);
    expect(loadConfig({ CONSUMER_WORKERS: "8", DB_MAX_CONNECTIONS: "10" }, "consumer").consumer.workers).toBe(
      8,
    );
  });
});
