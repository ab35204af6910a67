import { describe, expect, test } from "bun:test";
import { EventReader } from "../../shared/pipeline/event-reader.ts";
import { seededRandom } from "../support/seeded-random.ts";
import { EventSimulator, type SimulatorOptions } from "../../shared/producer/simulator.ts";

const NOW_MS = Date.UTC(2024, 0, 15, 10, 0, 0, 7);

function simulator(options: Partial<SimulatorOptions> = {}): EventSimulator {
  return new EventSimulator({
    userCount: 1000,
    minIntervalSeconds: 0.1,
    maxIntervalSeconds: 5,
    random: seededRandom(7),
    now: () => NOW_MS,
    ...options,
  });
}

function parsed(json: string): Record<string, unknown> & { event_data: Record<string, unknown> } {
  return JSON.parse(json);
}

/** The fields of event_data that are specific to a type. */
const SPECIFIC: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  page_view: { page_url: expect.stringMatching(/^\/page\/\w+$/), referrer: expect.any(String) },
  click: { element_id: expect.any(String), element_type: expect.any(String) },
  search: { query: expect.any(String), results_count: expect.any(Number) },
  purchase: {
    order_id: expect.stringMatching(/^order_\d+$/),
    amount: expect.any(Number),
    currency: expect.stringMatching(/^[A-Z]{3}$/),
    item_count: expect.any(Number),
  },
  login: { auth_method: expect.any(String) },
  logout: { auth_method: expect.any(String) },
};

describe("a simulated event", () => {
  test("is valid and holds the data of its type", () => {
    const source = simulator();
    const seen = new Set<string>();
    for (let n = 0; n < 5000; n++) {
      const { json, userId, eventType } = source.next();
      const event = parsed(json);
      seen.add(eventType);
      expect(event).toEqual({
        event_id: expect.stringMatching(new RegExp(`^${eventType}_${NOW_MS}_[0-9a-z]+$`)),
        user_id: userId,
        event_type: eventType,
        timestamp: "2024-01-15T10:00:00.007Z",
        event_data: {
          session_id: expect.stringMatching(/^session_\d{5}$/),
          ip_address: expect.stringMatching(/^192\.168\.\d{1,3}\.\d{1,3}$/),
          user_agent: expect.stringMatching(/^Mozilla\/5\.0 /),
          ...SPECIFIC[eventType],
        },
        ...(eventType === "page_view" || eventType === "search"
          ? { duration_seconds: expect.any(Number) }
          : {}),
      });
      expect(userId).toMatch(/^user_\d+$/);
      const bytes = Buffer.from(json);
      expect(new EventReader().readValue(bytes, NOW_MS, 0)).toMatchObject({
        eventType,
        userId,
        timestampMs: NOW_MS,
      });
      // The producer counts bytes by the length of the text.
      expect(bytes.length).toBe(json.length);
    }
    expect([...seen].toSorted()).toEqual(Object.keys(SPECIFIC).toSorted());
  });

  test("has each type at its share", () => {
    const source = simulator();
    const counts: Record<string, number> = {};
    const total = 100_000;
    for (let n = 0; n < total; n++) {
      const { eventType } = source.next();
      counts[eventType] = (counts[eventType] ?? 0) + 1;
    }
    const share = (...types: string[]) => types.reduce((sum, type) => sum + counts[type]!, 0) / total;
    expect(share("page_view", "click")).toBeCloseTo(0.7, 2);
    expect(share("purchase", "login", "logout")).toBeCloseTo(0.15, 2);
    expect(share("search")).toBeCloseTo(0.15, 2);
  });

  test("belongs to one of all users, and purchases are both below and above high value", () => {
    const source = simulator({ userCount: 3 });
    const users = new Set<string>();
    const amounts: number[] = [];
    for (let n = 0; n < 2000; n++) {
      const { userId, eventType, json } = source.next();
      users.add(userId);
      if (eventType === "purchase") amounts.push(Number(parsed(json).event_data["amount"]));
    }
    expect([...users].toSorted()).toEqual(["user_1", "user_2", "user_3"]);
    expect(Math.min(...amounts)).toBeLessThan(100);
    expect(Math.max(...amounts)).toBeGreaterThan(100);
  });

  test("has the time of its creation as its timestamp", () => {
    let now = 0;
    const source = simulator({ now: () => now });
    expect(parsed(source.next().json)["timestamp"]).toBe("1970-01-01T00:00:00.000Z");
    now = 1_705_312_800_001;
    expect(parsed(source.next().json)["timestamp"]).toBe("2024-01-15T10:00:00.001Z");
  });
});

describe("event ids", () => {
  test("are unique in one millisecond, across several simulators with the same random numbers", () => {
    const ids = new Set<unknown>();
    const each = 50_000;
    const sources = [1, 2, 3].map(() => simulator({ random: seededRandom(1) }));
    for (const source of sources)
      for (let n = 0; n < each; n++) ids.add(parsed(source.next().json)["event_id"]);
    expect(ids.size).toBe(each * sources.length);
  });

  test("stay within 100 characters after 2^53 events", () => {
    const longest = `page_view_${Date.UTC(9999, 11, 31)}_${"z".repeat(10)}${Number.MAX_SAFE_INTEGER.toString(36)}`;
    expect(longest.length).toBeLessThan(100);
  });
});

describe("the interval between events", () => {
  test("is exponential, clamped to the minimum and the maximum", () => {
    const source = simulator();
    const intervals = Array.from({ length: 50_000 }, () => source.nextIntervalSeconds());
    expect(Math.min(...intervals)).toBe(0.1);
    expect(Math.max(...intervals)).toBe(5);
    // P(X <= x) = 1 - exp(-x / mean), with the mean in the middle of the two.
    const mean = 2.55;
    for (const x of [0.5, 1, 2, 4]) {
      const share = intervals.filter((interval) => interval <= x).length / intervals.length;
      expect(share).toBeCloseTo(1 - Math.exp(-x / mean), 1.5);
    }
  });

  test("is constant if minimum and maximum are equal", () => {
    const source = simulator({ minIntervalSeconds: 0.5, maxIntervalSeconds: 0.5 });
    expect([1, 2, 3].map(() => source.nextIntervalSeconds())).toEqual([0.5, 0.5, 0.5]);
  });
});

test("two simulators with the same seed produce the same events", () => {
  const [one, other] = [42, 42].map((seed) => simulator({ random: seededRandom(seed), instance: "fixed" }));
  for (let n = 0; n < 100; n++) expect(one!.next()).toEqual(other!.next());
});
