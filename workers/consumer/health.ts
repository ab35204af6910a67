// The workers' status in, once a second; what keeps them from their work, in one sentence, out.

import type { PartitionStatus, WorkerStatus } from "./thread-messages.ts";

/** A worker with what it last said of itself; undefined: nothing yet. */
export interface WatchedWorker {
  readonly worker: number;
  readonly status: WorkerStatus | undefined;
}

/** A database that has not answered for this long counts as away, though the connection stands. */
const UNANSWERED_SECONDS = 10;
/** Without any progress for this long something is wrong, whatever it is. */
const STUCK_MS = 60_000;

/** Why workers are without their database now; undefined: they have it. */
export function databaseFault(workers: readonly WatchedWorker[]): string | undefined {
  const faults = workers.flatMap(({ worker, status }) => {
    if (status === undefined) return [];
    if (!status.hasDatabase) return [`worker ${worker} has no connection to PostgreSQL`];
    const seconds = status.databaseUnansweredSeconds;
    return seconds < UNANSWERED_SECONDS
      ? []
      : [`PostgreSQL has not answered worker ${worker} for ${seconds} s`];
  });
  return inOneSentence(faults);
}

/**
 * Notices workers that should get on and do not: partitions of which nothing is stored though records wait,
 * partitions that are not read, a group or brokers that do not answer. It knows no causes, so that it also finds
 * those that nobody thought of.
 */
export class Watchdog {
  /** What has to move, by what it is about, and since when it has not; monotonic, ms. */
  readonly #still = new Map<string, { mark: string; sinceMs: number }>();

  /** What has been stuck for a minute; undefined: nothing. @param nowMs monotonic */
  look(workers: readonly WatchedWorker[], nowMs: number): string | undefined {
    const seen = new Set<string>();
    const isStuck = (what: string, mark = ""): boolean => {
      seen.add(what);
      const known = this.#still.get(what);
      if (known?.mark === mark) return nowMs - known.sinceMs >= STUCK_MS;
      this.#still.set(what, { mark, sinceMs: nowMs });
      return false;
    };
    const faults = workers.flatMap(({ worker, status }) => {
      if (status === undefined) return isStuck(`start ${worker}`) ? [`worker ${worker} does not start`] : [];
      return faultsOf(worker, status, isStuck);
    });
    for (const what of this.#still.keys()) if (!seen.has(what)) this.#still.delete(what);
    return inOneSentence(faults);
  }
}

function faultsOf(
  worker: number,
  { hasJoined, kafkaFault, pausedBecause, partitions }: WorkerStatus,
  isStuck: (what: string, mark?: string) => boolean,
): string[] {
  const faults: string[] = [];
  if (!hasJoined && isStuck(`join ${worker}`)) {
    faults.push(`worker ${worker} has not joined the consumer group for a minute`);
  }
  if (kafkaFault !== undefined && isStuck(`kafka ${worker}`)) {
    faults.push(`Kafka has not answered worker ${worker} for a minute (${kafkaFault})`);
  }
  const why = pausedBecause === undefined ? "" : ` (${pausedBecause})`;
  for (const partition of partitions) {
    const { topic, partition: number, state, lag, storedOffset } = partition;
    const name = `${topic}[${number}]`;
    if (isWaiting(partition) && isStuck(`partition ${name}`, `${storedOffset}`)) {
      const what = state === "fetching" ? `${lag} records of ${name} wait` : `${name} is not read: ${state}`;
      faults.push(`${what}, and nothing of it was stored for a minute${why}`);
    }
  }
  return faults;
}

function isWaiting({ state, lag }: PartitionStatus): boolean {
  return state !== "fetching" || (lag ?? 0) > 0;
}

function inOneSentence(faults: readonly string[]): string | undefined {
  const [first, ...others] = faults;
  return others.length === 0 ? first : `${first}; and ${others.length} more like it`;
}
