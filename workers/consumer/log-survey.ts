// Asks Kafka at intervals for the topic ids and the bounds of the logs that a worker needs.

import { errorMessage } from "../../shared/runtime/errors.ts";
import type { Assignment, OwnedPartition } from "./assignment.ts";
import type { KafkaPort } from "./ports.ts";

const INTERVAL_MS = 2000;
/** While a partition waits for an answer. */
const URGENT_INTERVAL_MS = 250;

/** Kafka's answers; a partition or topic without an answer is missing. */
export interface LogSurvey {
  /** The ids of topics. They were read after the offsets, so an id that is still the same covers them. */
  readonly topicIds: ReadonlyMap<string, string>;
  /** The topics for which Kafka answered without an id. */
  readonly unidentifiedTopics: readonly string[];
  /** Where logs begin, of the partitions that need it. */
  readonly beginnings: ReadonlyMap<OwnedPartition, number>;
  /** Where logs end, as far as transactions have ended. */
  readonly ends: ReadonlyMap<OwnedPartition, number>;
  /** Why something was not answered. */
  readonly fault: string | undefined;
}

/** True where the partition cannot be fetched until Kafka has reported where its log begins. */
function needsBeginning({ state }: OwnedPartition): boolean {
  if (state.kind === "awaiting_offset") {
    return state.row.kind === "missing" && state.row.beginning === undefined;
  }
  return state.kind === "out_of_range" && state.bounds === undefined;
}

function needsAnswer(owned: OwnedPartition): boolean {
  const { state } = owned;
  return needsBeginning(owned) || (state.kind === "awaiting_offset" && state.topicId === undefined);
}

/** One survey at a time, of the partitions that are owned when it begins; all times are ms of the monotonic clock. */
export class LogSurveys {
  readonly #kafka: KafkaPort;
  readonly #topics: readonly string[];
  readonly #assignment: Assignment;
  readonly #onAnswered: () => void;
  #state: "due" | "asking" | "waiting" | LogSurvey = "due";
  #endedMs = 0;
  /** True while a survey is under way, or its answer waits, that was begun before the last `restart`. */
  #isStale = false;
  #isAnswered = false;
  #fault: string | undefined;
  #unidentifiedTopics: readonly string[] = [];

  /** @param onAnswered called when there is a survey to take */
  constructor(kafka: KafkaPort, topics: readonly string[], assignment: Assignment, onAnswered: () => void) {
    this.#kafka = kafka;
    this.#topics = topics;
    this.#assignment = assignment;
    this.#onAnswered = onAnswered;
  }

  /** True once Kafka was asked since the last `restart`. */
  get isAnswered(): boolean {
    return this.#isAnswered;
  }

  /** Why Kafka did not answer the last survey whole. */
  get fault(): string | undefined {
    return this.#fault;
  }

  /** True where Kafka answered the last survey without an id of the topic: its partitions cannot be placed. */
  lacksId(topic: string): boolean {
    return this.#unidentifiedTopics.includes(topic);
  }

  /** Forgets what was answered: all offsets have to be read again. */
  restart(): void {
    this.#isAnswered = false;
    this.#isStale = this.#state !== "due" && this.#state !== "waiting";
    this.hurry();
  }

  /** Makes the next survey due at once: a partition needs an answer that it did not need before. */
  hurry(): void {
    if (this.#state === "waiting") this.#state = "due";
  }

  /** When the next survey is due; undefined while one is under way. */
  dueAtMs(): number | undefined {
    if (this.#state === "due") return -Infinity;
    if (this.#state !== "waiting") return undefined;
    const isUrgent = this.#assignment.all().some(needsAnswer);
    return this.#endedMs + (isUrgent ? URGENT_INTERVAL_MS : INTERVAL_MS);
  }

  start(): void {
    this.#state = "asking";
    void this.#ask().then((survey) => {
      this.#state = survey;
      this.#onAnswered();
    });
  }

  /** What was answered since the last call. */
  take(nowMs: number): LogSurvey | undefined {
    const survey = this.#state;
    if (typeof survey === "string") return undefined;
    this.#state = this.#isStale ? "due" : "waiting";
    this.#isAnswered ||= !this.#isStale;
    this.#isStale = false;
    this.#endedMs = nowMs;
    this.#fault = survey.fault;
    this.#unidentifiedTopics = survey.unidentifiedTopics;
    return survey;
  }

  /** Never rejects: an unanswered question is asked again by the next survey, and holds up no other partition. */
  async #ask(): Promise<LogSurvey> {
    let fault: string | undefined;
    const answerTo = async <T>(question: () => Promise<T>): Promise<T | undefined> => {
      try {
        return await question();
      } catch (error) {
        fault ??= errorMessage(error);
        return undefined;
      }
    };
    const offsets = async (partitions: readonly OwnedPartition[], which: "beginning" | "end") => {
      const found = (await answerTo(() => this.#kafka.listOffsets(partitions, which))) ?? [];
      return new Map(
        partitions.flatMap((owned, index) => {
          const offset = found[index];
          return offset === undefined ? [] : [[owned, offset] as const];
        }),
      );
    };
    const all = this.#assignment.all();
    const [beginnings, ends] = await Promise.all([
      offsets(all.filter(needsBeginning), "beginning"),
      offsets(all, "end"),
    ]);
    const topicIds = await answerTo(() => this.#kafka.topicIds(this.#topics));
    return {
      topicIds: topicIds ?? new Map<string, string>(),
      unidentifiedTopics: topicIds === undefined ? [] : this.#topics.filter((topic) => !topicIds.has(topic)),
      beginnings,
      ends,
      fault,
    };
  }
}
