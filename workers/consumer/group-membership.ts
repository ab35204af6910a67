// Handles the events of the consumer group: partitions that are assigned, revoked or lost.

import type { TopicPartition } from "../../shared/event.ts";
import type { WorkerTelemetry } from "../../shared/telemetry/worker-telemetry.ts";
import type { Assignment } from "./assignment.ts";
import type { DatabaseWork } from "./database-work.ts";
import type { Intake } from "./intake.ts";
import type { KafkaPort } from "./ports.ts";

/** How long a revocation waits for the transaction in flight. */
const REVOKE_DRAIN_MS = 5000;

/** A revocation that is not answered yet. */
interface Revocation {
  readonly partitions: readonly TopicPartition[];
  readonly deadlineMs: number;
}

/** The worker as a member of the group; all times are ms of the monotonic clock. */
export class GroupMembership {
  readonly #kafka: KafkaPort;
  readonly #assignment: Assignment;
  readonly #intake: Intake;
  readonly #work: Pick<DatabaseWork, "isInFlight">;
  readonly #telemetry: WorkerTelemetry;
  #revocation: Revocation | undefined;
  #hasJoined = false;

  constructor(
    kafka: KafkaPort,
    assignment: Assignment,
    intake: Intake,
    work: Pick<DatabaseWork, "isInFlight">,
    telemetry: WorkerTelemetry,
  ) {
    this.#kafka = kafka;
    this.#assignment = assignment;
    this.#intake = intake;
    this.#work = work;
    this.#telemetry = telemetry;
  }

  /** True once the group has accepted the worker. A member without partitions may never see an event. */
  hasJoined(): boolean {
    this.#hasJoined ||= this.#kafka.isMember();
    return this.#hasJoined;
  }

  /** Answers at once; where each partition begins is read afterwards. */
  onAssign(partitions: readonly TopicPartition[]): void {
    this.#hasJoined = true;
    this.#kafka.acknowledgeAssign([]);
    for (const partition of partitions) this.#assignment.assign(this.#kafka.slot(partition), partition);
    this.#telemetry.assigned(partitions, this.#assignment.size);
  }

  onRevoke(partitions: readonly TopicPartition[], lost: boolean, nowMs: number): void {
    this.#telemetry.revoked(partitions, this.#assignment.size - partitions.length, lost);
    this.#revocation = { partitions, deadlineMs: lost ? nowMs : nowMs + REVOKE_DRAIN_MS };
  }

  /** When the revocation is answered at the latest; undefined: none waits. */
  get revocationDeadlineMs(): number | undefined {
    return this.#revocation?.deadlineMs;
  }

  /**
   * Answers the revocation, unless it can still wait for the transaction in flight: the next owner should find our last
   * batch stored. If that takes too long, the fence keeps the batch out.
   */
  answerRevocation(nowMs: number): void {
    if (this.#revocation === undefined) return;
    const { partitions, deadlineMs } = this.#revocation;
    const slots = partitions.map((partition) => this.#kafka.slot(partition));
    if (deadlineMs > nowMs && slots.some((slot) => this.#work.isInFlight(slot))) return;
    this.#revocation = undefined;
    for (const slot of slots) this.#assignment.revoke(slot);
    for (const { topic, partition } of partitions) this.#telemetry.lag(topic, partition, undefined);
    // Their records that are in no transaction are left to the next owner.
    this.#intake.drop(slots);
    this.#kafka.acknowledgeRevoke();
  }
}
