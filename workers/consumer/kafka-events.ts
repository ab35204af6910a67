// Handles what Kafka delivers besides records: the group's events, partitions that cannot be read, errors, log lines.

import type { ConsumerEvent } from "../../shared/kafka/consumer-event.ts";
import { errorKind, errorMeaning } from "../../shared/kafka/error-codes.ts";
import { FatalError } from "../../shared/runtime/errors.ts";
import type { WorkerTelemetry } from "../../shared/telemetry/worker-telemetry.ts";
import type { Assignment } from "./assignment.ts";
import { ResyncNeeded } from "./failure.ts";
import type { GroupMembership } from "./group-membership.ts";
import type { Intake } from "./intake.ts";
import type { LogSurveys } from "./log-survey.ts";
import type { KafkaPort, WorkerClock, WorkerOptions } from "./ports.ts";
import type { Settlement } from "./settlement.ts";

interface Surroundings {
  readonly kafka: Pick<KafkaPort, "slot">;
  readonly clock: WorkerClock;
  readonly assignment: Assignment;
  readonly intake: Pick<Intake, "hasFetched">;
  readonly membership: GroupMembership;
  readonly settlement: Settlement;
  readonly surveys: Pick<LogSurveys, "hurry">;
  readonly telemetry: WorkerTelemetry;
}

export class KafkaEvents {
  readonly #subscription: Pick<WorkerOptions, "topics" | "consumerGroup">;
  readonly #surroundings: Surroundings;

  /** @param subscription for messages to a person */
  constructor(subscription: Pick<WorkerOptions, "topics" | "consumerGroup">, surroundings: Surroundings) {
    this.#subscription = subscription;
    this.#surroundings = surroundings;
  }

  /** @throws ResyncNeeded where partitions are lost, FatalError where no retry helps */
  handle(event: ConsumerEvent): void {
    const { clock, membership, settlement, surveys, telemetry } = this.#surroundings;
    switch (event.kind) {
      case "assign":
        membership.onAssign(event.partitions);
        return surveys.hurry();
      case "revoke":
        membership.onRevoke(event.partitions, event.lost, clock.monotonicMs());
        membership.answerRevocation(clock.monotonicMs());
        if (event.lost) throw new ResyncNeeded("lost", "the group has given our partitions to others");
        return;
      case "out_of_range":
        return settlement.onOutOfRange(event, undefined);
      case "truncated":
        return settlement.onOutOfRange(event, event);
      case "unreadable":
        return this.#onUnreadable(event);
      case "error":
        return this.#onError(event);
      case "committed":
        if (event.error !== undefined) telemetry.offsetCommitFailed(event.error);
        return;
      case "log":
        telemetry.kafkaLog(event.level, event.facility, event.message);
    }
  }

  #onUnreadable(event: ConsumerEvent & { kind: "unreadable" }): void {
    const { assignment, kafka, telemetry } = this.#surroundings;
    const owned = assignment.get(kafka.slot(event));
    if (owned !== undefined && assignment.markUnreadable(owned, event)) {
      telemetry.unreadable(event.topic, event.partition, event.offset, event.reason);
    }
  }

  #onError({ code, name, message, fatal }: ConsumerEvent & { kind: "error" }): void {
    const { intake, telemetry } = this.#surroundings;
    telemetry.kafkaError(name, message);
    if (fatal) {
      const meaning = errorMeaning(code);
      throw new FatalError(`Kafka: ${meaning === undefined ? message : `${meaning} (${message})`}`);
    }
    // Before the first record no waiting helps; later it may be a change in progress.
    if (intake.hasFetched || errorKind(code) !== "authorization") return;
    const { topics, consumerGroup } = this.#subscription;
    throw new FatalError(
      `Kafka does not let this user read ${topics.join(", ")} as group "${consumerGroup}": ${message}`,
    );
  }
}
