// Holds everything that one history consists of: Kafka, PostgreSQL, the consumers, and what is known of them.

import { makePostgresPort } from "../../workers/consumer/postgres-port.ts";
import { ConsumerHealth } from "../../workers/consumer/health.ts";
import { errorMessage } from "../../shared/runtime/errors.ts";
import { rewind, type RewindTarget } from "../../shared/store/readings.ts";
import type { SeededChoices } from "../support/seeded-random.ts";
import { NOW_MS } from "../pipeline/record.ts";
import { Counters } from "./counters.ts";
import { GroupCoordinator } from "./kafka/group-coordinator.ts";
import { KafkaCluster } from "./kafka/kafka-cluster.ts";
import type { PartitionLog } from "./kafka/partition-log.ts";
import { SimulatedMember } from "./kafka/simulated-member.ts";
import { OperatingSystemProcess } from "./operating-system-process.ts";
import { Oracle } from "./oracle.ts";
import type { ModelClient } from "./postgres/model-client.ts";
import { PostgresModel } from "./postgres/postgres-model.ts";
import { lastEntry } from "./records-read.ts";
import { SimulatedConsumer } from "./simulated-consumer.ts";
import { TopicContent } from "./topic-content.ts";
import type { TopicRecord } from "./topic-record.ts";
import { Trace } from "./trace.ts";
import { Violations } from "./violations.ts";
import type { VirtualTime } from "./virtual-time.ts";
import { type ObserverOptions, WorkerObserver } from "./worker-observer.ts";

const GROUP = "simulated";
const DATABASE = {} as never;
const REWIND_DEADLINE_MS = 30_000;

/** A consumer with the processes and models that stand behind it. */
export interface RunningConsumer {
  readonly consumer: SimulatedConsumer;
  readonly member: SimulatedMember;
  readonly client: ModelClient;
}

export class World {
  readonly time: VirtualTime;
  readonly choices: SeededChoices;
  readonly trace: Trace;
  readonly counters = new Counters();
  readonly cluster: KafkaCluster;
  readonly group: GroupCoordinator;
  readonly postgres: PostgresModel;
  readonly oracle: Oracle;
  readonly violations = new Violations();
  readonly content: TopicContent;
  readonly health: ConsumerHealth;
  /** Every consumer that was ever started. */
  readonly consumers: RunningConsumer[] = [];
  readonly sessionTimeoutMs: number;
  readonly saveRawEvents: boolean;
  readonly #copyRawEvents: boolean;
  readonly #batchSize: number;
  readonly #observed: ObserverOptions;
  readonly #rewindingPids = new Set<number>();
  #plannedAppends = 0;

  constructor(time: VirtualTime, choices: SeededChoices) {
    this.time = time;
    this.choices = choices;
    this.trace = new Trace(() => time.nowMs());
    this.saveRawEvents = !choices.once(8);
    this.#copyRawEvents = !choices.once(8);
    this.#batchSize = choices.one([1, 4, 10, 40]);
    this.sessionTimeoutMs = 6000 + choices.below(4000);
    const repeatsIds = this.saveRawEvents && !choices.once(4);
    this.content = new TopicContent(choices, repeatsIds);
    this.cluster = new KafkaCluster(time);
    const protocol = choices.one(["classic", "consumer"] as const);
    this.group = new GroupCoordinator(time, this.cluster, { protocol, rebalanceTimeoutMs: 60_000 });
    this.oracle = new Oracle({
      cluster: this.cluster,
      saveRawEvents: this.saveRawEvents,
      violations: this.violations,
      onDuplicate: (where) => this.counters.count(`duplicate ${where}`),
      onSkipped: () => this.counters.count("records deleted before they were read"),
      onExpired: () => this.counters.count("expired"),
      onReadAgain: (pid) => this.counters.count(this.#rewindingPids.has(pid) ? "rewound" : "truncation"),
    });
    this.postgres = new PostgresModel(time, {
      consumerGroup: GROUP,
      epochMs: NOW_MS,
      onCommit: (tables, transaction) => this.oracle.onCommit(tables, transaction),
      onLost: (_tables, lost) => {
        this.counters.count("crash took commits back");
        this.oracle.onLost(lost);
      },
      trace: (text) => this.trace.note("database", text),
    });
    this.#observed = {
      counters: this.counters,
      trace: this.trace,
      violations: this.violations,
      oracle: this.oracle,
      injectedDeadlocks: () =>
        repeatsIds ? undefined : (this.postgres.faults.bitten.get("statement 40P01") ?? 0),
    };
    this.health = new ConsumerHealth(() => ({
      workers: this.alive().map(({ consumer }, worker) => ({
        worker,
        status: consumer.worker.status(),
        isSilent: false,
      })),
      databaseFault: undefined,
      isStopping: false,
    }));
    this.counters.count(`${protocol} protocol`);
    if (!this.saveRawEvents) this.counters.count("without raw rows");
  }

  alive(): RunningConsumer[] {
    return this.consumers.filter(({ consumer }) => consumer.isAlive);
  }

  /** Those that no fault has stopped. */
  running(): RunningConsumer[] {
    return this.alive().filter(({ consumer }) => consumer.process.state === "running");
  }

  /** What is written next to a log: records, and offsets without one. */
  records(count: number): (TopicRecord | undefined)[] {
    return Array.from({ length: count }, () => this.content.next());
  }

  /** False while records are still to be written that were planned by `appendAfter`. */
  get hasAllRecords(): boolean {
    return this.#plannedAppends === 0;
  }

  appendAfter(ms: number, append: () => void): void {
    this.#plannedAppends++;
    this.time.after(ms, () => {
      this.#plannedAppends--;
      append();
    });
  }

  startConsumer(): void {
    const name = `worker ${this.consumers.length}`;
    this.trace.note(name, "starts");
    const process = new OperatingSystemProcess(name, this.time);
    const client = this.postgres.client(process);
    const observer = new WorkerObserver(name, this.#observed);
    let member: SimulatedMember | undefined;
    const consumer = new SimulatedConsumer({
      process,
      trace: this.trace,
      observer,
      topics: this.cluster.names,
      consumerGroup: GROUP,
      batchSize: this.#batchSize,
      saveRawEvents: this.saveRawEvents,
      database: makePostgresPort(
        {
          database: DATABASE,
          consumerGroup: GROUP,
          store: {
            saveRawEvents: this.saveRawEvents,
            copyRawEvents: this.#copyRawEvents,
            hourGraceMs: 300_000,
          },
        },
        client.open,
      ),
      joinGroup: (onWake) => {
        member = new SimulatedMember({
          name,
          cluster: this.cluster,
          group: this.group,
          process,
          onWake,
          observer,
        });
        return member;
      },
    });
    this.consumers.push({ consumer, member: member!, client });
  }

  /** As the command does; like it, it may fail, and then changes nothing. */
  async rewind(targets: readonly RewindTarget[]): Promise<void> {
    try {
      const session = await this.postgres.client().open(DATABASE, { role: "main", consumerGroup: GROUP });
      this.#rewindingPids.add(session.backendPid);
      const { rewound } = await session.transaction(REWIND_DEADLINE_MS, (tx) => rewind(tx, targets));
      for (const { topic, partition, nextOffset, until } of rewound)
        this.trace.note("rewind", `${topic}[${partition}] from ${until} to ${nextOffset}`);
      await session.close();
    } catch (error) {
      this.trace.note("rewind", `fails: ${errorMessage(error)}`);
    }
  }

  /** SIGKILL; the group notices when the session ends. */
  kill({ consumer, member, client }: RunningConsumer): void {
    this.trace.note(consumer.process.name, "is killed");
    consumer.process.kill();
    client.kill();
    this.time.after(this.sessionTimeoutMs, () => this.group.evict(member));
  }

  /** SIGSTOP; neither the brokers nor PostgreSQL hear from it. */
  stop({ consumer, member }: RunningConsumer): void {
    this.trace.note(consumer.process.name, "is stopped");
    consumer.process.stop();
    this.time.after(this.sessionTimeoutMs, () => {
      if (consumer.process.state === "stopped") this.group.evict(member);
    });
  }

  continue({ consumer }: RunningConsumer): void {
    if (consumer.process.state !== "stopped") return;
    this.trace.note(consumer.process.name, "goes on");
    consumer.process.continue();
  }

  /** Which of the logs has records that are not stored; undefined: none. */
  whatIsUnstored(logs: readonly PartitionLog[]): string | undefined {
    const rows = this.postgres.tables.offsets.rows().filter(({ closedAtMs }) => closedAtMs === undefined);
    for (const log of logs) {
      const name = `${log.topic}[${log.partition}]`;
      const { id } = this.cluster.topic(log.topic)!;
      const row = rows.find((each) => each.topicId === id && each.partition === log.partition);
      // A transaction's markers behind the last record are passed with the next one, even where retention has removed them.
      if (row === undefined || row.nextOffset < log.endOfRecords) {
        return `${name} is stored up to ${row?.nextOffset ?? "nothing"}, its records end at ${log.endOfRecords}`;
      }
      const common = log.endOfCommon(lastEntry(log, row));
      if (row.leaderEpoch !== undefined && common < row.nextOffset) {
        return `${name} is stored up to ${row.nextOffset}, its log was cut at ${common}`;
      }
    }
    return undefined;
  }

  /** What is still to be done until all is consumed and well; undefined: nothing. */
  whatIsMissing(): string | undefined {
    const unstored = this.whatIsUnstored(this.cluster.logs());
    if (unstored !== undefined) return unstored;
    const statuses = this.alive().map(({ consumer }) => consumer.worker.status());
    const owned = statuses.reduce((sum, { partitions }) => sum + partitions.length, 0);
    if (owned !== this.cluster.logs().length) return `${owned} partitions are owned`;
    for (const [index, { pausedBecause, partitions, databaseUnansweredSeconds }] of statuses.entries()) {
      const { name } = this.alive()[index]!.consumer.process;
      // The answer to a COMMIT may be missing although its records are stored.
      if (databaseUnansweredSeconds > 0) return `${name} waits for PostgreSQL`;
      if (pausedBecause !== undefined) return `${name} is paused: ${pausedBecause}`;
      for (const { topic, partition, state, lag } of partitions) {
        if (state !== "fetching") return `${name} has ${topic}[${partition}] in the state ${state}`;
        if (lag !== 0) return `${name} has a lag of ${lag} in ${topic}[${partition}]`;
      }
    }
    const isComplete = this.group.isStable && this.alive().every(({ member }) => this.group.has(member));
    if (!isComplete) return "the group rebalances";
    const [problem] = this.health.problems(this.time.nowMs());
    return problem && `not ready: ${problem.message}`;
  }
}
