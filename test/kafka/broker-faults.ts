// Injects faults into the embedded broker.
import { dlopen } from "bun:ffi";
import type { EmbeddedBroker } from "../../shared/kafka/embedded.ts";
import { loadLibrary } from "../../shared/kafka/ffi/load-library.ts";

/** Requests of the Kafka protocol, by their API key. */
export const RequestKey = { produce: 0, offsetCommit: 8 } as const;

const ALL_BROKERS = -1;

export class BrokerFaults {
  readonly #broker: EmbeddedBroker;
  readonly #c;

  constructor(broker: EmbeddedBroker) {
    this.#broker = broker;
    this.#c = dlopen(loadLibrary().path, {
      rd_kafka_mock_push_request_errors_array: { args: ["ptr", "i16", "u64", "ptr"], returns: "void" },
      rd_kafka_mock_broker_set_down: { args: ["ptr", "i32"], returns: "i32" },
      rd_kafka_mock_set_controller_id: { args: ["ptr", "i32"], returns: "void" },
      rd_kafka_mock_partition_set_leader: { args: ["ptr", "ptr", "i32", "i32"], returns: "i32" },
      rd_kafka_mock_broker_set_up: { args: ["ptr", "i32"], returns: "i32" },
      rd_kafka_mock_broker_set_rtt: { args: ["ptr", "i32", "i32"], returns: "i32" },
    }).symbols;
  }

  /** Makes the next requests of a kind fail, one for each code; -195 (_TRANSPORT) drops the connection. */
  failRequests(key: number, codes: readonly number[]): void {
    const { cluster } = this.#broker;
    this.#c.rd_kafka_mock_push_request_errors_array(cluster, key, codes.length, Int32Array.from(codes));
  }

  /** Stops one broker of the cluster (numbered from 1), or all of them. */
  setDown(broker = ALL_BROKERS): void {
    this.#c.rd_kafka_mock_broker_set_down(this.#broker.cluster, broker);
  }

  /** @param broker its number, from 1 */
  setController(broker: number): void {
    this.#c.rd_kafka_mock_set_controller_id(this.#broker.cluster, broker);
  }

  /** Lets a partition's leader begin its next epoch. @param broker its number, from 1 */
  setLeader(topic: string, partition: number, broker: number): void {
    this.#c.rd_kafka_mock_partition_set_leader(
      this.#broker.cluster,
      Buffer.from(`${topic}\0`),
      partition,
      broker,
    );
  }

  setUp(): void {
    this.#c.rd_kafka_mock_broker_set_up(this.#broker.cluster, ALL_BROKERS);
  }

  /** @param broker its number, from 1 */
  setRoundTripMs(broker: number, roundTripMs: number): void {
    this.#c.rd_kafka_mock_broker_set_rtt(this.#broker.cluster, broker, roundTripMs);
  }
}
