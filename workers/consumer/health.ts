// Finds what keeps the workers from storing records, for /readyz, the alerts and the page.

import { plural } from "../../shared/text/format.ts";
import type { Problem } from "../problem.ts";
import { HUNG_SECONDS, SILENT_SECONDS } from "./heartbeat.ts";
import type { PartitionStatus, WorkerStatus } from "./thread-messages.ts";

export type ConsumerProblemKind =
  | "stopping"
  | "starting"
  | "thread_silent"
  | "no_database"
  | "paused"
  | "not_joined"
  | "kafka_unreachable"
  | "partition_not_read"
  | "partition_unreadable"
  | "partition_over_limit"
  | "no_progress";

export type ConsumerProblem = Problem<ConsumerProblemKind>;

/** A worker with its last report; undefined before the first one. */
export interface WorkerSnapshot {
  readonly worker: number;
  readonly status: WorkerStatus | undefined;
  /** Its thread hangs: the status is old. */
  readonly isSilent: boolean;
}

/** What the problems are read from. */
export interface ConsumerSnapshot {
  /** Undefined until the workers are started. */
  readonly workers: readonly WorkerSnapshot[] | undefined;
  /** Why the main thread cannot reach the database, if it cannot. */
  readonly databaseFault: string | undefined;
  readonly isStopping: boolean;
}

/** A database that has not answered for this long counts as unreachable, although the connection stands. */
const UNANSWERED_SECONDS = 10;
/** A warning that stands for this long without any progress becomes critical. */
const STUCK_MS = 60_000;

type FindingKind = Exclude<ConsumerProblemKind, "stopping">;

/** One observation about one worker or partition. Findings of one kind and detail become one problem. */
interface Finding {
  readonly kind: FindingKind;
  /** The worker's number, or the partition's name. */
  readonly subject: number | string;
  readonly detail: string;
  readonly isCritical: boolean;
}

/**
 * The health of the consumer. It does not depend on knowing the cause: a partition that does not advance for a minute
 * is always reported. Any number of callers may ask at any time.
 */
export class ConsumerHealth {
  readonly #takeSnapshot: () => ConsumerSnapshot;
  /** Since when each thing that should change has not; monotonic, ms. */
  readonly #unchanged = new Map<string, { readonly mark: string; readonly sinceMs: number }>();

  constructor(takeSnapshot: () => ConsumerSnapshot) {
    this.#takeSnapshot = takeSnapshot;
  }

  /** What is wrong now, empty when nothing is. @param nowMs monotonic */
  readonly problems = (nowMs: number = performance.now()): ConsumerProblem[] => {
    const { workers, databaseFault, isStopping } = this.#takeSnapshot();
    const problems: ConsumerProblem[] = [];
    if (isStopping) {
      problems.push({ kind: "stopping", severity: "warning", message: "what was read is being committed" });
    }
    const unreachable = (workers ?? []).flatMap(databaseFindings);
    if (unreachable.length > 0 || databaseFault !== undefined) {
      // Without a database nothing moves. That is one problem and not two: the clocks of the others start again.
      this.#unchanged.clear();
    }
    if (unreachable.length === 0 && databaseFault !== undefined) {
      const message = `PostgreSQL is unreachable: ${databaseFault}`;
      problems.push({ kind: "no_database", severity: "critical", message });
    } else if (workers === undefined && !isStopping) {
      problems.push({ kind: "starting", severity: "warning", message: "waiting for PostgreSQL or Kafka" });
    }
    const findings = [...unreachable, ...this.#flowFindings(workers ?? [], nowMs)];
    const byProblem = Map.groupBy(findings, ({ kind, detail, isCritical }) =>
      JSON.stringify([kind, detail, isCritical]),
    );
    for (const alike of byProblem.values()) problems.push(problemOf(alike, workers?.length ?? 0));
    return problems;
  };

  #flowFindings(workers: readonly WorkerSnapshot[], nowMs: number): Finding[] {
    const seen = new Set<string>();
    const isStuck = (what: string, mark = ""): boolean => {
      seen.add(what);
      const known = this.#unchanged.get(what);
      if (known?.mark === mark) return nowMs - known.sinceMs >= STUCK_MS;
      this.#unchanged.set(what, { mark, sinceMs: nowMs });
      return false;
    };
    const findings = workers.flatMap((worker) => flowFindings(worker, isStuck));
    for (const what of this.#unchanged.keys()) if (!seen.has(what)) this.#unchanged.delete(what);
    return findings;
  }
}

function databaseFindings({ worker, status, isSilent }: WorkerSnapshot): Finding[] {
  if (status === undefined || isSilent) return [];
  const { hasDatabase, databaseUnansweredSeconds, pausedBecause } = status;
  const finding = { kind: "no_database", subject: worker, isCritical: true } as const;
  // A worker that was never connected and has not failed either is starting.
  if (!hasDatabase) return pausedBecause === undefined ? [] : [{ ...finding, detail: pausedBecause }];
  if (databaseUnansweredSeconds < UNANSWERED_SECONDS) return [];
  return [{ ...finding, detail: `no answer within ${UNANSWERED_SECONDS} s` }];
}

function flowFindings(
  { worker, status, isSilent }: WorkerSnapshot,
  isStuck: (what: string, mark?: string) => boolean,
): Finding[] {
  const ofWorker = (kind: FindingKind, detail = ""): Finding => ({
    kind,
    subject: worker,
    detail,
    isCritical: isStuck(`${kind} ${worker}`),
  });
  if (isSilent) return [{ kind: "thread_silent", subject: worker, detail: "", isCritical: true }];
  if (status === undefined) return [ofWorker("starting")];
  const { hasJoined, hasDatabase, kafkaFault, pausedBecause, partitions } = status;
  const findings: Finding[] = [];
  if (pausedBecause === undefined && !hasDatabase) findings.push(ofWorker("starting"));
  else if (!hasJoined) findings.push(ofWorker("not_joined"));
  if (pausedBecause !== undefined && hasDatabase) {
    findings.push({ kind: "paused", subject: worker, detail: pausedBecause, isCritical: true });
  }
  if (kafkaFault !== undefined) findings.push(ofWorker("kafka_unreachable", kafkaFault));
  for (const partition of partitions) {
    const { topic, partition: number, state, storedOffset, unplacedBecause } = partition;
    const name = `${topic}[${number}]`;
    if (partition.unreadableBecause !== undefined) {
      const detail = partition.unreadableBecause;
      findings.push({ kind: "partition_unreadable", subject: name, detail, isCritical: true });
      continue;
    }
    if (partition.overLimitBecause !== undefined) {
      const detail = partition.overLimitBecause;
      findings.push({ kind: "partition_over_limit", subject: name, detail, isCritical: true });
      continue;
    }
    if (!isWaiting(partition)) continue;
    const subject = state === "fetching" ? name : `${name} (${state})`;
    // By partition and not by worker: one that moves between workers without being read is stuck, too.
    if (isStuck(`partition ${name}`, `${storedOffset}`)) {
      const detail = unplacedBecause ?? pausedBecause ?? "";
      findings.push({ kind: "no_progress", subject, detail, isCritical: true });
    } else if (state !== "fetching") {
      findings.push({
        kind: "partition_not_read",
        subject,
        detail: unplacedBecause ?? "",
        isCritical: false,
      });
    }
  }
  return findings;
}

function isWaiting({ state, lag }: PartitionStatus): boolean {
  return state !== "fetching" || (lag ?? 0) > 0;
}

/** @param alike findings of one kind, detail and severity; at least one */
function problemOf(alike: readonly Finding[], workers: number): ConsumerProblem {
  const { kind, detail, isCritical } = alike[0]!;
  const subjects = alike.map(({ subject }) => subject);
  return {
    kind,
    severity: isCritical ? "critical" : "warning",
    message: describe(kind, detail, subjects, workers),
  };
}

function describe(
  kind: FindingKind,
  detail: string,
  subjects: readonly (number | string)[],
  workers: number,
): string {
  const names = subjects.join(", ");
  const isOne = subjects.length === 1;
  const all = isOne ? "the worker" : `all ${workers} workers`;
  const who = subjects.length === workers ? all : isOne ? `worker ${names}` : `workers ${names}`;
  const because = detail === "" ? "" : `: ${detail}`;
  switch (kind) {
    case "starting":
      return `${who} ${isOne ? "is" : "are"} starting`;
    case "thread_silent":
      return `${who} ${isOne ? "hangs" : "hang"}: no sign of life for ${SILENT_SECONDS} s; after ${HUNG_SECONDS} s the process ends`;
    case "no_database":
      return `PostgreSQL is unreachable from ${who}: ${detail}`;
    case "paused":
      return `${who} ${isOne ? "is" : "are"} paused: ${detail}`;
    case "not_joined":
      return `${who} ${isOne ? "has" : "have"} not joined the consumer group`;
    case "kafka_unreachable":
      return `Kafka does not answer ${who}: ${detail}`;
    case "partition_not_read":
      return `not read: ${names}${because}`;
    case "partition_unreadable":
      return `not readable: ${names}: ${detail}`;
    case "partition_over_limit":
      return `stopped: ${names}: ${detail}`;
    case "no_progress":
      return `no record of ${names} was stored for a minute${because}`;
  }
}

/** What the workers do while nothing is wrong, in one sentence. */
export function describeFlow(workers: readonly WorkerSnapshot[]): string {
  const partitions = workers.reduce((sum, { status }) => sum + (status?.partitions.length ?? 0), 0);
  const threads = plural(workers.length, "worker");
  if (partitions === 0) return `${threads} ready; other consumers of the group have all partitions`;
  const read = `${workers.length === 1 ? "reads" : "read"} ${plural(partitions, "partition")}`;
  return `${threads} ${read}, and PostgreSQL stores the records`;
}
