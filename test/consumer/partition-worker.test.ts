import { describe, expect, test } from "bun:test";
import { KafkaError } from "../../shared/kafka/kafka-error.ts";
import { eventually } from "../support/eventually.ts";
import { endSessions, publish, sessionsOf, stateOf, WorkerBench } from "./worker-bench.ts";

const TIMEOUT_MS = 120_000;

describe("a partition in trouble", () => {
  test(
    "without a leader does not hold up the other partitions of its worker",
    async () => {
      await using bench = await WorkerBench.start();
      const topic = await bench.kafka.createTopic(3);
      await publish(bench.kafka, topic, 0, 100);
      await publish(bench.kafka, topic, 1, 100);
      let hasLeader = false;
      let refusals = 0;
      const { worker, log } = await bench.worker([topic], {
        kafka: (real) => ({
          listOffsets: async (partitions, which) => {
            if (hasLeader) return await real.listOffsets(partitions, which);
            // As librdkafka answers: together with others the leaderless one has no offset, alone it is an error.
            const others = partitions.filter(({ partition }) => partition !== 2);
            if (others.length === 0 && partitions.length > 0) {
              refusals++;
              throw new KafkaError(
                -156,
                "_NOENT",
                "the beginning of 1 partition(s) cannot be read: No leaders found",
              );
            }
            const found = await real.listOffsets(others, which);
            return partitions.map(({ partition }) =>
              partition === 2 ? undefined : found[others.findIndex((other) => other.partition === partition)],
            );
          },
        }),
      });
      await eventually("the others are stored", () => bench.isStored(topic, [0, 1], 100));
      await eventually("the partition was asked for alone", () => refusals > 3);
      expect(worker.status().pausedBecause).toBeUndefined();
      expect(log.filter((line) => line.includes('"cause"'))).toEqual([]);
      expect(stateOf(worker, 2)).toBe("awaiting_offset");
      await publish(bench.kafka, topic, 0, 50);
      await eventually("the others go on", () => bench.isStored(topic, [0], 150));
      hasLeader = true;
      await publish(bench.kafka, topic, 2, 10);
      await eventually("it is read once it has a leader", () => bench.isStored(topic, [2], 10));
    },
    TIMEOUT_MS,
  );

  test(
    "without a topic id says so, and does not hold up the other topics of its worker",
    async () => {
      await using bench = await WorkerBench.start();
      const known = await bench.kafka.createTopic(1);
      const unknown = await bench.kafka.createTopic(1);
      let hasId = true;
      const { worker } = await bench.worker([known, unknown], {
        kafka: (real) => ({
          topicIds: async (topics) => {
            const ids = await real.topicIds(topics);
            if (!hasId) ids.delete(unknown);
            return ids;
          },
        }),
      });
      await publish(bench.kafka, unknown, 0, 10);
      await eventually("both are read", () => bench.isStored(unknown, [0], 10));
      hasId = false;
      await endSessions(bench.database);
      await publish(bench.kafka, known, 0, 100);
      await eventually("the other topic is stored", () => bench.isStored(known, [0], 100));
      await eventually("the pause has ended", () => worker.status().pausedBecause === undefined);
      const reasons = () =>
        new Map(worker.status().partitions.map((each) => [each.topic, each.unplacedBecause]));
      await eventually("the reason is told", () => reasons().get(unknown) !== undefined);
      expect(reasons().get(unknown)).toStartWith(`topic ${unknown} has no id`);
      expect(reasons().get(known)).toBeUndefined();
      hasId = true;
      await publish(bench.kafka, unknown, 0, 10);
      await eventually("it is read once it has an id", () => bench.isStored(unknown, [0], 20));
      expect(reasons().get(unknown)).toBeUndefined();
    },
    TIMEOUT_MS,
  );

  test(
    "that retention has overtaken is settled while the others have a backlog",
    async () => {
      await using bench = await WorkerBench.start();
      const topic = await bench.kafka.createTopic(2);
      await publish(bench.kafka, topic, 0, 10);
      await publish(bench.kafka, topic, 1, 10);
      const first = await bench.worker([topic]);
      await eventually("both are stored", () => bench.isStored(topic, [0, 1], 10));
      first.worker.drain();
      await first.ended;
      // The embedded broker keeps 5 MiB of a partition.
      await publish(bench.kafka, topic, 0, 9000, 1000);
      await publish(bench.kafka, topic, 1, 50_000);
      await bench.worker([topic], { batchSize: 50 });
      let backlog = 0;
      await eventually("the gap is skipped", async () => {
        const offsets = await bench.offsets(topic);
        backlog = 50_010 - (offsets.get(1)?.next ?? 0);
        return (offsets.get(0)?.deleted ?? 0) > 0;
      });
      expect(backlog).toBeGreaterThan(0);
    },
    TIMEOUT_MS,
  );

  test(
    "whose row another transaction holds does not hold up the others",
    async () => {
      await using bench = await WorkerBench.start();
      const topic = await bench.kafka.createTopic(2);
      await publish(bench.kafka, topic, 0, 10);
      await publish(bench.kafka, topic, 1, 10);
      const first = await bench.worker([topic]);
      await eventually("both are stored", () => bench.isStored(topic, [0, 1], 10));
      first.worker.drain();
      await first.ended;
      const released = Promise.withResolvers<void>();
      const locked = Promise.withResolvers<void>();
      const holding = bench.database.sql.begin(async (tx) => {
        await tx`select 1 from pipeline_offsets where topic = ${topic} and partition = 0 for update`;
        locked.resolve();
        await released.promise;
      });
      await locked.promise;
      await publish(bench.kafka, topic, 0, 10);
      await publish(bench.kafka, topic, 1, 10);
      const second = await bench.worker([topic]);
      await eventually("the other is stored", () => bench.isStored(topic, [1], 20));
      expect(stateOf(second.worker, 0)).toBe("awaiting_offset");
      expect(second.worker.status().pausedBecause).toBeUndefined();
      released.resolve();
      await holding;
      await eventually("it goes on when the row is free", () => bench.isStored(topic, [0], 20));
    },
    TIMEOUT_MS,
  );
});

describe("a worker", () => {
  test(
    "takes Kafka's answers while its batch is full",
    async () => {
      await using bench = await WorkerBench.start();
      const topic = await bench.kafka.createTopic(2);
      await publish(bench.kafka, topic, 0, 2000);
      const released = Promise.withResolvers<void>();
      const questions = { asked: 0, answered: 0 };
      const { worker } = await bench.worker([topic], {
        batchSize: 10,
        kafka: (real) => ({
          listOffsets: async (partitions, which) => {
            questions.asked++;
            const found = await real.listOffsets(partitions, which);
            questions.answered++;
            return found;
          },
        }),
        session: (real) => ({
          commit: async (batch, proof) => {
            await released.promise;
            return await real.commit(batch, proof);
          },
        }),
      });
      await eventually(
        "a transaction is held, and the next batch is full",
        () => worker.status().databaseUnansweredSeconds >= 1,
      );
      const { answered } = questions;
      await eventually("further answers are taken", () => questions.answered > answered + 2);
      released.resolve();
      await eventually("all is stored", () => bench.isStored(topic, [0], 2000));
    },
    TIMEOUT_MS,
  );

  test(
    "answers a revocation within seconds while a statement of the database has no answer",
    async () => {
      await using bench = await WorkerBench.start();
      const topic = await bench.kafka.createTopic(2);
      await publish(bench.kafka, topic, 0, 5);
      await publish(bench.kafka, topic, 1, 5);
      const released = Promise.withResolvers<void>();
      const { worker } = await bench.worker([topic], {
        session: (real) => ({
          readPositions: async (keys) => {
            await released.promise;
            return await real.readPositions(keys);
          },
        }),
      });
      await eventually("it waits for the stored offsets", () => worker.status().partitions.length === 2);
      const { worker: other } = await bench.worker([topic]);
      await eventually(
        "another worker reads one of its partitions",
        () => other.status().partitions.length === 1,
      );
      await eventually("and stores it", async () =>
        [...(await bench.offsets(topic)).values()].some(({ next }) => next === 5),
      );
      released.resolve();
      await eventually("it stores the other one", () => bench.isStored(topic, [0, 1], 5));
    },
    TIMEOUT_MS,
  );

  test(
    "without partitions is a member, and its pause ends with its cause",
    async () => {
      await using bench = await WorkerBench.start();
      const topic = await bench.kafka.createTopic(1);
      const workers = [(await bench.worker([topic])).worker, (await bench.worker([topic])).worker];
      const isWell = () => {
        const status = workers.map((worker) => worker.status());
        const owned = status.flatMap(({ partitions }) => partitions);
        return (
          owned.length === 1 &&
          status.every(
            ({ hasJoined, hasDatabase, pausedBecause }) =>
              hasJoined && hasDatabase && pausedBecause === undefined,
          )
        );
      };
      await eventually("one worker has the partition, and both are well", isWell);
      const ended = await endSessions(bench.database);
      // A session is replaced within milliseconds, so the pause itself may pass unseen.
      await eventually("both have new sessions", async () => {
        const pids = await sessionsOf(bench.database);
        return pids.length === 2 && pids.every((pid) => !ended.includes(pid));
      });
      await eventually("both are well again", isWell);
    },
    TIMEOUT_MS,
  );

  test(
    "leaves a session whose faults repeat",
    async () => {
      await using bench = await WorkerBench.start();
      const topic = await bench.kafka.createTopic(1);
      await publish(bench.kafka, topic, 0, 5);
      const sessions = new Set<number>();
      await bench.worker([topic], {
        session: (real) => ({
          commit: async (batch, proof) => {
            sessions.add(real.backendPid);
            if (sessions.size > 1) return await real.commit(batch, proof);
            // 42P01: the table is missing where this session's search_path looks for it.
            throw Object.assign(new Error('relation "raw_events" does not exist'), { code: "42P01" });
          },
        }),
      });
      await eventually("another session stores the records", () => bench.isStored(topic, [0], 5));
    },
    TIMEOUT_MS,
  );

  test(
    "repeats a lost transaction once when it drains",
    async () => {
      await using bench = await WorkerBench.start();
      const topic = await bench.kafka.createTopic(1);
      const attempts = { failed: 0 };
      const drained = Promise.withResolvers<void>();
      const { worker, ended } = await bench.worker([topic], {
        session: (real) => ({
          commit: async (batch, proof) => {
            if (attempts.failed > 0) return await real.commit(batch, proof);
            worker.drain();
            drained.resolve();
            attempts.failed++;
            throw Object.assign(new Error("deadlock detected"), { code: "40P01" });
          },
        }),
      });
      await publish(bench.kafka, topic, 0, 5);
      await drained.promise;
      await ended;
      const offsets = await bench.offsets(topic);
      expect(offsets.get(0)?.next).toBeGreaterThan(0);
    },
    TIMEOUT_MS,
  );
});
