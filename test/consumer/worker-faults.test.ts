// Tests that a worker goes on, and comes to rest, after faults that the real surroundings rarely show.
import { describe, expect, test } from "bun:test";
import { KafkaError } from "../../shared/kafka/kafka-error.ts";
import { systemClock } from "../../shared/runtime/clock.ts";
import { ConnectionLost } from "../../shared/store/sqlstate.ts";
import { eventually } from "../support/eventually.ts";
import { rejection } from "../support/rejection.ts";
import { endSessions, publish, stateOf, WorkerBench } from "./worker-bench.ts";

const TIMEOUT_MS = 120_000;
/** A worker at rest polls some ten times a second, one that never rests about a thousand times. */
const POLLS_A_SECOND_AT_REST = 60;

/** Counts polls while `wait` lasts. @returns polls in a second */
async function pollsASecond(count: { polls: number }, wait: () => Promise<unknown>): Promise<number> {
  const { polls } = count;
  const startedAt = performance.now();
  await wait();
  return ((count.polls - polls) / (performance.now() - startedAt)) * 1000;
}

describe("a worker without work", () => {
  test(
    "ends its pause and rests after a fault that has left its session sound",
    async () => {
      await using bench = await WorkerBench.start();
      const topic = await bench.kafka.createTopic(1);
      const count = { polls: 0, surveys: 0 };
      let fault: Error | undefined;
      const { worker } = await bench.worker([topic], {
        kafka: (real) => ({
          poll: (block) => {
            count.polls++;
            const error = fault;
            fault = undefined;
            if (error !== undefined) throw error;
            return real.poll(block);
          },
          // Without an id the partition cannot be placed, so nothing is asked of the database.
          topicIds: async () => {
            count.surveys++;
            return await Promise.resolve(new Map<string, string>());
          },
        }),
      });
      await eventually("it owns the partition", () => stateOf(worker, 0) === "awaiting_offset");
      await eventually("it has a database", () => worker.status().hasDatabase);
      fault = new KafkaError(-195, "_TRANSPORT", "a broker has closed the connection");
      await eventually("the fault is taken", () => fault === undefined);
      await eventually("the pause has ended", () => worker.status().pausedBecause === undefined);
      const { surveys } = count;
      const rate = await pollsASecond(count, () =>
        eventually("Kafka is asked some more times", () => count.surveys > surveys + 8),
      );
      expect(rate).toBeLessThan(POLLS_A_SECOND_AT_REST);
    },
    TIMEOUT_MS,
  );

  test(
    "notices that the database no longer answers it, and opens another session",
    async () => {
      await using bench = await WorkerBench.start();
      const topic = await bench.kafka.createTopic(1);
      await publish(bench.kafka, topic, 0, 5);
      const backends = new Set<number>();
      const { worker } = await bench.worker([topic], {
        session: ({ backendPid }) => {
          backends.add(backendPid);
          return backends.size > 1 ? {} : { probe: () => Promise.reject(new ConnectionLost("no answer")) };
        },
      });
      await eventually("all is stored", () => bench.isStored(topic, [0], 5));
      await eventually("it has another session", () => backends.size === 2 && worker.status().hasDatabase);
    },
    TIMEOUT_MS,
  );
});

describe("a worker whose batches fail", () => {
  test.each([
    ["a table is missing", "42P01"],
    ["the disk is full, which ends no connection and stops no reading", "53100"],
  ])(
    "is paused until one of them is committed, where %s",
    async (_, code) => {
      await using bench = await WorkerBench.start();
      const topic = await bench.kafka.createTopic(1);
      await publish(bench.kafka, topic, 0, 5);
      const attempts: (string | undefined)[] = [];
      let isMended = false;
      const { worker } = await bench.worker([topic], {
        session: (real) => ({
          commit: async (batch, proof) => {
            if (isMended) return await real.commit(batch, proof);
            attempts.push(worker.status().pausedBecause);
            throw Object.assign(new Error("the batch is refused"), { code });
          },
        }),
      });
      await eventually("some batches have failed", () => attempts.length > 4);
      expect(attempts.slice(1)).not.toContain(undefined);
      isMended = true;
      await eventually("the pause has ended", () => worker.status().pausedBecause === undefined);
      expect(await bench.isStored(topic, [0], 5)).toBe(true);
    },
    TIMEOUT_MS,
  );
});

describe("a worker whose database cannot be written any more", () => {
  test(
    "says so, and stores again when it can",
    async () => {
      await using bench = await WorkerBench.start();
      const topic = await bench.kafka.createTopic(1);
      const { sql, name } = bench.database;
      const { worker } = await bench.worker([topic]);
      await publish(bench.kafka, topic, 0, 5);
      await eventually("the first are stored", () => bench.isStored(topic, [0], 5));
      await sql.unsafe(`alter database "${name}" set default_transaction_read_only = on`);
      await endSessions(bench.database);
      await publish(bench.kafka, topic, 0, 5);
      await eventually("it says so", () =>
        worker.status().pausedBecause?.startsWith("the database is read-only"),
      );
      await sql.unsafe(`
        set default_transaction_read_only = off; alter database "${name}" reset default_transaction_read_only`);
      await eventually("all is stored", () => bench.isStored(topic, [0], 10));
    },
    TIMEOUT_MS,
  );
});

describe("a worker that drains", () => {
  test(
    "rests while its last transaction has no answer",
    async () => {
      await using bench = await WorkerBench.start();
      const topic = await bench.kafka.createTopic(1);
      await publish(bench.kafka, topic, 0, 5);
      const released = Promise.withResolvers<void>();
      const count = { polls: 0 };
      const { worker, ended } = await bench.worker([topic], {
        kafka: (real) => ({
          poll: (block) => {
            count.polls++;
            return real.poll(block);
          },
        }),
        session: (real) => ({
          commit: async (batch, proof) => {
            await released.promise;
            return await real.commit(batch, proof);
          },
        }),
      });
      await eventually("a transaction is in flight", () => worker.status().databaseUnansweredSeconds >= 1);
      worker.drain();
      const rate = await pollsASecond(count, () =>
        // Longer than the interval at which a running worker asks Kafka.
        eventually("it lasts", () => worker.status().databaseUnansweredSeconds >= 6),
      );
      released.resolve();
      await ended;
      expect(rate).toBeLessThan(POLLS_A_SECOND_AT_REST);
      expect(await bench.isStored(topic, [0], 5)).toBe(true);
    },
    TIMEOUT_MS,
  );

  test(
    "says so when what it has read cannot be stored, whatever the reason",
    async () => {
      await using bench = await WorkerBench.start();
      const topic = await bench.kafka.createTopic(1);
      const { worker, ended } = await bench.worker([topic], {
        session: () => ({
          commit: () => {
            worker.drain();
            return Promise.reject(
              Object.assign(new Error('column "user_id" does not exist'), { code: "42703" }),
            );
          },
        }),
      });
      await publish(bench.kafka, topic, 0, 5);
      expect(await rejection(ended)).toMatchObject({
        name: "FatalError",
        message: expect.stringMatching(/^what was read could not be committed, and is read again: .*user_id/),
      });
    },
    TIMEOUT_MS,
  );
});

describe("a worker that has met another fault just before", () => {
  test(
    "still ends with an error of Kafka that no retry fixes",
    async () => {
      await using bench = await WorkerBench.start();
      const topic = await bench.kafka.createTopic(1);
      let isDue = false;
      const { ended } = await bench.worker([topic], {
        kafka: (real) => ({
          poll: (block) => {
            if (!isDue) return real.poll(block);
            // librdkafka says it once.
            isDue = false;
            return {
              kind: "error",
              code: -150,
              name: "_FATAL",
              message: "the instance is fenced",
              fatal: true,
            };
          },
        }),
        session: () => ({
          commit: async () => {
            // The worker rests when it learns of both at once, of this fault first.
            await Bun.sleep(20);
            isDue = true;
            throw Object.assign(new Error("closed"), { code: "CONNECTION_CLOSED" });
          },
        }),
      });
      await publish(bench.kafka, topic, 0, 5);
      expect((await rejection(ended)).message).toContain("the instance is fenced");
    },
    TIMEOUT_MS,
  );
});

describe("a worker whose clock goes back", () => {
  test(
    "reads its offsets again, says why, and goes on",
    async () => {
      await using bench = await WorkerBench.start();
      const topic = await bench.kafka.createTopic(1);
      let backMs = 0;
      const monotonicMs = () => systemClock.monotonicMs() - backMs;
      const { log } = await bench.worker([topic], {
        clock: { now: () => systemClock.now(), monotonicMs },
      });
      await publish(bench.kafka, topic, 0, 5);
      await eventually("the first are stored", () => bench.isStored(topic, [0], 5));
      backMs = 1000;
      await eventually("it says so", () =>
        log.some((line) => line.includes("the monotonic clock went back")),
      );
      await publish(bench.kafka, topic, 0, 5);
      await eventually("all is stored", () => bench.isStored(topic, [0], 10));
    },
    TIMEOUT_MS,
  );
});

describe("a worker whose Kafka client refuses a call", () => {
  test(
    "goes on when the offsets of a stored batch cannot be committed to Kafka",
    async () => {
      await using bench = await WorkerBench.start();
      const topic = await bench.kafka.createTopic(1);
      await publish(bench.kafka, topic, 0, 5);
      let refusals = 0;
      const { worker } = await bench.worker([topic], {
        kafka: (real) => ({
          commit: (offsets) => {
            if (refusals++ === 0) throw new KafkaError(-172, "_STATE", "offsets cannot be committed");
            real.commit(offsets);
          },
        }),
      });
      await eventually("the batch is stored", () => bench.isStored(topic, [0], 5));
      await publish(bench.kafka, topic, 0, 5);
      await eventually("the next one is stored as well", () => bench.isStored(topic, [0], 10));
      expect(worker.status().pausedBecause).toBeUndefined();
    },
    TIMEOUT_MS,
  );
});

describe("a worker whose topic is created again", () => {
  test(
    "stores what it reads of the new one under the new id only, although it has not noticed yet",
    async () => {
      await using bench = await WorkerBench.start();
      const topic = await bench.kafka.createTopic(1);
      await publish(bench.kafka, topic, 0, 5);
      let id = "old";
      await bench.worker([topic], {
        kafka: () => ({ topicIds: async () => await Promise.resolve(new Map([[topic, id]])) }),
        session: (real) => ({
          readPositions: async (keys) => {
            const positions = await real.readPositions(keys);
            // From here on the partition is fetched under the old id.
            if (positions.some(({ kind }) => kind === "stored")) id = "new";
            return positions;
          },
        }),
      });
      const rows = () => bench.database.sql<{ topic_id: string; next_offset: number }[]>`
        select topic_id, next_offset::int from pipeline_offsets order by topic_id`;
      await eventually("all is stored", async () =>
        (await rows()).some(({ next_offset }) => next_offset === 5),
      );
      expect([...(await rows())]).toEqual([
        { topic_id: "new", next_offset: 5 },
        { topic_id: "old", next_offset: 0 },
      ]);
    },
    TIMEOUT_MS,
  );
});
