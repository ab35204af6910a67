// Publishes in transactions, which the programs do not use but other producers may.
import { dlopen } from "bun:ffi";
import { Client } from "../../shared/kafka/client.ts";
import { loadLibrary } from "../../shared/kafka/ffi/load-library.ts";
import { type Pointer, pointer, type Returned } from "../../shared/kafka/ffi/memory.ts";
import type { KafkaUnderTest } from "./kafka-variants.ts";

const TIMEOUT_MS = 20_000;
const COPY = 2;

function loadFunctions() {
  return dlopen(loadLibrary().path, {
    rd_kafka_init_transactions: { args: ["ptr", "i32"], returns: "ptr" },
    rd_kafka_begin_transaction: { args: ["ptr"], returns: "ptr" },
    rd_kafka_commit_transaction: { args: ["ptr", "i32"], returns: "ptr" },
    rd_kafka_abort_transaction: { args: ["ptr", "i32"], returns: "ptr" },
  }).symbols;
}

export class TransactionalProducer {
  readonly #client: Client;
  readonly #topic: Pointer;
  readonly #own = loadFunctions();

  private constructor(client: Client, topic: Pointer) {
    this.#client = client;
    this.#topic = topic;
  }

  /** Blocks this thread. */
  static async open(kafka: KafkaUnderTest, topic: string): Promise<TransactionalProducer> {
    const settings = kafka.producerSettings({
      "transactional.id": crypto.randomUUID(),
      "message.timeout.ms": "10000",
    });
    const client = Client.create("producer", settings, 0);
    const at = pointer(client.library.c.rd_kafka_topic_new(client.handle, topic, null), "topic");
    const producer = new TransactionalProducer(client, at);
    producer.#check(producer.#own.rd_kafka_init_transactions(client.handle, TIMEOUT_MS));
    return producer;
  }

  begin(values: readonly string[]): void {
    this.#check(this.#own.rd_kafka_begin_transaction(this.#client.handle));
    for (const value of values) {
      const bytes = Buffer.from(value);
      this.#client.library.c.rd_kafka_produce(this.#topic, 0, COPY, bytes, bytes.length, null, 0, null);
    }
    // The log holds them before the transaction ends.
    this.#client.library.c.rd_kafka_flush(this.#client.handle, TIMEOUT_MS);
  }

  end(how: "commit" | "abort"): void {
    const { rd_kafka_commit_transaction: commit, rd_kafka_abort_transaction: abort } = this.#own;
    this.#check((how === "commit" ? commit : abort)(this.#client.handle, TIMEOUT_MS));
  }

  async transaction(values: readonly string[], how: "commit" | "abort"): Promise<void> {
    this.begin(values);
    this.end(how);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#client.library.c.rd_kafka_topic_destroy(this.#topic);
    this.#client.destroy();
  }

  #check(error: Returned): void {
    this.#client.library.throwError(error, "transaction");
  }
}
