// Publishes simulated records with injected faults through the producer's own loop.
import { openSync, writeSync } from "node:fs";
import type { KafkaConfig } from "../../shared/config/config.ts";
import { StopSignal } from "../../shared/runtime/stop-signal.ts";
import { DeliveryLedger } from "../../shared/producer/delivery-ledger.ts";
import { SteadyRateLimiter, noRateLimit } from "../../shared/producer/rate-limiter.ts";
import { simulatedRecords } from "../../shared/producer/record-source.ts";
import { EventSimulator } from "../../shared/producer/simulator.ts";
import { type Logger, makeLogger } from "../../shared/telemetry/log.ts";
import { runProducer } from "../producer/run.ts";
import { withInjectedFaults } from "./injected-faults.ts";
import { CONSUMER_GROUP, type Servers, TOPIC } from "./servers.ts";

export interface PublisherOptions {
  readonly servers: Servers;
  /** Records per second; Infinity = unlimited. */
  readonly rate: number;
  /** Records known to be consumed: the publisher waits while it is too far ahead of them. */
  readonly consumedRecords: () => number;
}

/** The embedded broker keeps 5 MiB of each partition: a consumer further behind would lose records. */
const MAX_BEHIND_RECORDS = 10_000;
const USERS = 1000;

export class Publisher {
  readonly deliveries = new DeliveryLedger();
  /** Resolves after a stop when every record is acknowledged or has failed; rejects if nothing can be published. */
  readonly ended: Promise<void>;
  readonly #stop = new StopSignal();
  #isOpen = false;
  #isHeldBack = false;

  /** Connects without publishing: a client needs a moment before its first record. */
  constructor({ servers, rate, consumedRecords }: PublisherOptions) {
    const simulator = new EventSimulator({ userCount: USERS, minIntervalSeconds: 0, maxIntervalSeconds: 0 });
    const producing = runProducer({
      kafka: kafkaConfig(servers),
      topic: TOPIC.name,
      source: withInjectedFaults(simulatedRecords(simulator)),
      limiter: Number.isFinite(rate) ? new SteadyRateLimiter(rate) : noRateLimit,
      ledger: this.deliveries,
      stop: this.#stop,
      log: fileLogger(servers.producerLog),
      gate: () => {
        this.#isHeldBack = this.deliveries.sent - consumedRecords() >= MAX_BEHIND_RECORDS;
        return this.#isOpen && !this.#isHeldBack;
      },
    });
    this.ended = producing.then(() => undefined);
    this.ended.catch(() => undefined); // where nothing waits for it
  }

  /** True while the consumer is too far behind. */
  get isHeldBack(): boolean {
    return this.#isHeldBack;
  }

  begin(): void {
    this.#isOpen = true;
  }

  /** Stops publishing; `ended` resolves when the records in flight have arrived. */
  stop(reason: string): void {
    this.#stop.request(reason);
  }
}

function kafkaConfig({ broker }: Servers): KafkaConfig {
  return {
    bootstrapServers: broker.bootstrapServers,
    topics: [TOPIC.name],
    partitions: TOPIC.partitions,
    replicationFactor: 1,
    consumerGroup: CONSUMER_GROUP,
    passThrough: {},
  };
}

function fileLogger(path: string): Logger {
  const file = openSync(path, "a");
  return makeLogger("producer", "info", { destination: { write: (line) => writeSync(file, line) } });
}
