// Generates simulated records, the same in each run.
import { seededRandom } from "../test/support/seeded-random.ts";
import { EventSimulator } from "../shared/producer/simulator.ts";
import type { BenchRecord } from "./bench.ts";

const SEED = 7;
const USERS = 1000;

/**
 * Simulated events as the producer publishes them; only their timestamps differ from run to run.
 * @param now their clock, ms since 1970
 * @param who `userCount`, and `instance`, a part of the ids
 */
export function* simulated(
  events: number,
  now = Date.now,
  { userCount = USERS, instance = "bench" } = {},
): Generator<BenchRecord> {
  const simulator = new EventSimulator({
    userCount,
    minIntervalSeconds: 0.1,
    maxIntervalSeconds: 5,
    random: seededRandom(SEED),
    now,
    instance,
  });
  for (let made = 0; made < events; made++) {
    const { userId, json } = simulator.next();
    yield { key: userId, value: json };
  }
}

/** The same events with random ids (UUIDv4), which lead to all places of an index. */
export function* withRandomIds(records: Iterable<BenchRecord>): Generator<BenchRecord> {
  for (const { key, value } of records) {
    yield { key, value: value.replace(/(?<="event_id":")[^"]+/, () => crypto.randomUUID()) };
  }
}
