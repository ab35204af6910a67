// Decides at which offset to read each owned partition, by its stored offset and the bounds of its log.

import type { WorkerTelemetry } from "../../shared/telemetry/worker-telemetry.ts";
import type { Assignment, OwnedPartition, PartitionIn } from "./assignment.ts";
import { topicChanged } from "./topic-check.ts";
import type { LogSurvey, LogSurveys } from "./log-survey.ts";
import type { DatabaseSession, KafkaPort, WorkerClock } from "./ports.ts";
import type { PlacementWork, Settlement } from "./settlement.ts";

/** Between two attempts to lock the row of a partition that another transaction holds. */
const RETRY_MS = 250;
/** A transaction that has held a row this long may be that of a stopped process, which is ended then. */
const STUCK_AFTER_MS = 5000;

type Awaiting = PartitionIn<"awaiting_offset">;

/** Moves partitions from `awaiting_offset` to `fetching`; `Settlement` does so from `out_of_range`. */
export class Placement {
  readonly #kafka: Pick<KafkaPort, "fetch">;
  readonly #assignment: Assignment;
  readonly #settlement: Settlement;
  readonly #surveys: Pick<LogSurveys, "hurry">;
  readonly #clock: WorkerClock;
  readonly #telemetry: WorkerTelemetry;
  #retryAtMs = 0;
  #peersEndedAtMs = -Infinity;
  #suspectsPeers = false;

  constructor(
    kafka: Pick<KafkaPort, "fetch">,
    assignment: Assignment,
    settlement: Settlement,
    surveys: Pick<LogSurveys, "hurry">,
    clock: WorkerClock,
    telemetry: WorkerTelemetry,
  ) {
    this.#kafka = kafka;
    this.#assignment = assignment;
    this.#settlement = settlement;
    this.#surveys = surveys;
    this.#clock = clock;
    this.#telemetry = telemetry;
  }

  /** True while the database can be asked for the offset of a partition, and has not answered yet. */
  isUnread(): boolean {
    return this.#assignment
      .in("awaiting_offset")
      .some(({ state }) => state.topicId !== undefined && state.row.kind === "unknown");
  }

  /** A lock was not granted in time: a stopped process may hold it. */
  suspectStuckPeers(): void {
    this.#suspectsPeers = true;
  }

  /** When there is work, ms of the monotonic clock; undefined: not before Kafka has answered something. */
  dueAtMs(): number | undefined {
    if (this.#suspectsPeers) return -Infinity;
    if (this.#readable(Infinity).length > 0) {
      return this.#readable(-Infinity).length > 0 ? -Infinity : this.#retryAtMs;
    }
    return this.#settlement.isDue() ? -Infinity : undefined;
  }

  /** The next step of work, if one is due. */
  next(now: number): PlacementWork | undefined {
    if (this.#suspectsPeers || this.#hasStuckRow(now)) {
      return { kind: "ending_peers", run: (session) => this.#endStuckPeers(session, now) };
    }
    const readable = this.#readable(now);
    if (readable.length > 0)
      return { kind: "placing", run: (session) => this.#place(session, readable, now) };
    return this.#settlement.next();
  }

  /** Takes what Kafka has answered. @throws ResyncNeeded where a topic was deleted and created again */
  apply({ topicIds, beginnings, ends }: LogSurvey): void {
    for (const owned of this.#assignment.all()) {
      const topicId = topicIds.get(owned.topic);
      const beginning = beginnings.get(owned);
      const end = ends.get(owned);
      owned.end = end ?? owned.end;
      const { state } = owned;
      if (state.kind === "awaiting_offset") {
        // A row that was read under another topic id does not apply to this one.
        if (topicId !== state.topicId) state.row = { kind: "unknown" };
        else if (state.row.kind === "missing")
          state.row = { kind: "missing", beginning: beginning ?? state.row.beginning };
        state.topicId = topicId;
        continue;
      }
      if (topicId === undefined) continue;
      if (topicId !== state.topicId) throw topicChanged(owned.topic, state.topicId, topicId);
      this.#settlement.apply(owned, beginning, end);
    }
  }

  #readable(now: number): Awaiting[] {
    return this.#assignment.in("awaiting_offset").filter(({ state: { topicId, row } }) => {
      if (topicId === undefined) return false;
      if (row.kind === "locked") return this.#retryAtMs <= now;
      return row.kind === "unknown" || row.beginning !== undefined;
    });
  }

  /** True where a row has been locked for long, and no peer was ended recently. */
  #hasStuckRow(now: number): boolean {
    if (now - this.#peersEndedAtMs < STUCK_AFTER_MS) return false;
    return this.#assignment
      .in("awaiting_offset")
      .some(({ state: { row } }) => row.kind === "locked" && now - row.sinceMs >= STUCK_AFTER_MS);
  }

  async #endStuckPeers(session: DatabaseSession, now: number): Promise<() => void> {
    // Also where it fails: placing goes on first.
    this.#suspectsPeers = false;
    this.#peersEndedAtMs = now;
    const ended = await session.endStuckPeers();
    return () => {
      if (ended.length > 0) this.#telemetry.stuckPeersEnded(ended);
    };
  }

  /** Reads the stored offsets; partitions that were never read are entered at the beginning of their logs. */
  async #place(session: DatabaseSession, awaiting: readonly Awaiting[], now: number): Promise<() => void> {
    const keys = awaiting.map(({ topic, partition, state }) => ({
      topic,
      partition,
      topicId: state.topicId!,
    }));
    const starts = awaiting.flatMap(({ state: { row } }, index) =>
      row.kind === "missing" && row.beginning !== undefined
        ? [{ ...keys[index]!, nextOffset: row.beginning }]
        : [],
    );
    if (starts.length > 0) await session.enterPartitions(starts);
    const positions = await session.readPositions(keys);
    return () => {
      this.#retryAtMs = this.#clock.monotonicMs() + RETRY_MS;
      const placed = awaiting.flatMap((owned, index) => {
        const { topicId } = keys[index]!;
        const position = positions[index]!;
        // While the row was read, the partition may have been revoked, or its topic created again under the same name.
        if (!this.#isStill(owned, topicId)) return [];
        const { state } = owned;
        if (position.kind === "stored") {
          const { reading, nextOffset, leaderEpoch } = position;
          const start = { topicId, reading, stored: nextOffset, leaderEpoch };
          return [this.#assignment.startFetchingAt(owned, start)];
        }
        if (position.kind === "missing") {
          state.row = { kind: "missing", beginning: undefined };
          this.#surveys.hurry();
        } else state.row = state.row.kind === "locked" ? state.row : { kind: "locked", sinceMs: now };
        return [];
      });
      this.#kafka.fetch(placed);
    };
  }

  #isStill(owned: OwnedPartition, topicId: string): boolean {
    return (
      this.#assignment.holds(owned) &&
      owned.state.kind === "awaiting_offset" &&
      owned.state.topicId === topicId
    );
  }
}
