// Models what a group member asks the cluster, and when the answers come.

import type { TopicPartition } from "../../../shared/event.ts";
import { ErrorCode } from "../../../shared/kafka/error-codes.ts";
import { KafkaError } from "../../../shared/kafka/kafka-error.ts";
import type { OperatingSystemProcess } from "../operating-system-process.ts";
import type { KafkaCluster } from "./kafka-cluster.ts";

export const REQUEST_TIMEOUT_MS = 5000;

export class MemberQuestions {
  readonly #cluster: KafkaCluster;
  readonly #process: OperatingSystemProcess;
  readonly #onAnswered: () => void;
  /** Answers that arrived and were not given yet. */
  #answers: (() => void)[] = [];
  readonly #open = new Set<(error: Error) => void>();
  #isClosed = false;

  /** @param onAnswered called when there is an answer to give */
  constructor(cluster: KafkaCluster, process: OperatingSystemProcess, onAnswered: () => void) {
    this.#cluster = cluster;
    this.#process = process;
    this.#onAnswered = onAnswered;
  }

  /** Gives the answers that arrived. */
  giveAnswers(): void {
    const answers = this.#answers;
    this.#answers = [];
    for (const answer of answers) answer();
  }

  listOffsets(
    partitions: readonly TopicPartition[],
    which: "beginning" | "end",
  ): Promise<(number | undefined)[]> {
    if (partitions.length === 0) return Promise.resolve([]);
    const cluster = this.#cluster;
    const process = this.#process;
    // A leader that is away may be waited for until the end.
    const isWaiting =
      partitions.some((partition) => !cluster.log(partition)?.hasLeader) && process.random() < 0.5;
    const ms = isWaiting ? REQUEST_TIMEOUT_MS : cluster.answerMs();
    return this.#ask(`the ${which} of ${partitions.length} partition(s) cannot be read`, ms, () => {
      const found = partitions.map((partition) => {
        const log = cluster.log(partition);
        if (log === undefined || !log.hasLeader) return undefined;
        return which === "beginning" ? log.beginning : log.stableEnd;
      });
      if (found.every((offset) => offset === undefined)) throw timedOut(`the ${which} cannot be read`);
      return found;
    });
  }

  topicIds(topics: readonly string[]): Promise<Map<string, string>> {
    const cluster = this.#cluster;
    return this.#ask("the topics cannot be described", cluster.answerMs(), () => {
      const found = topics.flatMap((name) => cluster.topic(name) ?? []);
      return new Map(found.map(({ name, id }) => [name, id]));
    });
  }

  /** Rejects what is not answered, and every further question. */
  close(): void {
    this.#isClosed = true;
    for (const reject of this.#open) reject(new Error("the consumer was closed"));
  }

  /** Asks the cluster; the answer is as of the moment at which the broker handles the question. */
  #ask<T>(what: string, ms: number | undefined, answer: () => T): Promise<T> {
    if (this.#isClosed) return Promise.reject(new Error("the consumer was closed"));
    const process = this.#process;
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    this.#open.add(reject);
    const settle = (end: () => void): void => {
      this.#answers.push(() => {
        this.#open.delete(reject);
        end();
      });
      this.#onAnswered();
    };
    if (ms === undefined) {
      process.after(REQUEST_TIMEOUT_MS, () => settle(() => reject(timedOut(what))));
      return promise;
    }
    process.after(ms / 2, () => {
      let end: () => void;
      try {
        const found = answer();
        end = () => resolve(found);
      } catch (error) {
        end = () => reject(error);
      }
      process.after(ms / 2, () => settle(end));
    });
    return promise;
  }
}

function timedOut(what: string): KafkaError {
  return new KafkaError(ErrorCode.timedOut, "_TIMED_OUT", `${what}: no response in ${REQUEST_TIMEOUT_MS} ms`);
}
