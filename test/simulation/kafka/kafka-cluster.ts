// Models a Kafka cluster: its topics with their ids and logs, and how it answers questions about them.

import type { TopicPartition } from "../../../shared/event.ts";
import type { Scheduler } from "../postgres/scheduler.ts";
import type { TopicRecord } from "../topic-record.ts";
import { PartitionLog } from "./partition-log.ts";

/** One incarnation of a topic. */
export interface SimulatedTopic {
  readonly name: string;
  readonly id: string;
  readonly logs: PartitionLog[];
}

/** What a fault does to questions: `slow` takes seconds, `silent` never answers, so that the client gives up. */
export type Answers = "prompt" | "slow" | "silent";

export class KafkaCluster {
  readonly time: Scheduler;
  answers: Answers = "prompt";
  /** Every incarnation of every topic, the older first. */
  readonly incarnations: SimulatedTopic[] = [];
  readonly #topics = new Map<string, SimulatedTopic>();
  readonly #onPartitions = new Set<() => void>();

  constructor(time: Scheduler) {
    this.time = time;
  }

  get names(): string[] {
    return [...this.#topics.keys()];
  }

  topic(name: string): SimulatedTopic | undefined {
    return this.#topics.get(name);
  }

  logs(): PartitionLog[] {
    return [...this.#topics.values()].flatMap(({ logs }) => logs);
  }

  log({ topic, partition }: TopicPartition): PartitionLog | undefined {
    return this.#topics.get(topic)?.logs[partition];
  }

  /** Creates a topic; one of the same name goes away with all of its records. @param starts the first offset of each log */
  createTopic(name: string, starts: readonly number[]): SimulatedTopic {
    const id = `${name}-${this.incarnations.length}`;
    const logs = starts.map((start, partition) => new PartitionLog(name, partition, start));
    const topic = { name, id, logs };
    const old = this.#topics.get(name);
    this.#topics.set(name, topic);
    this.incarnations.push(topic);
    for (const log of old?.logs ?? []) log.changed();
    for (const changed of this.#onPartitions) changed();
    return topic;
  }

  addPartition(name: string): PartitionLog {
    const { logs } = this.#topics.get(name)!;
    const log = new PartitionLog(name, logs.length, 0);
    logs.push(log);
    for (const changed of this.#onPartitions) changed();
    return log;
  }

  /** Calls when partitions come or go. */
  onPartitions(run: () => void): void {
    this.#onPartitions.add(run);
  }

  append(log: PartitionLog, records: readonly (TopicRecord | undefined)[]): void {
    for (const record of records) log.append(record);
    log.changed();
  }

  /** Ms until an answer arrives; undefined: it never does. */
  answerMs(): number | undefined {
    if (this.answers === "silent") return undefined;
    return this.answers === "slow" ? 500 + this.time.random() * 4000 : 0.5 + this.time.random() * 3;
  }
}
