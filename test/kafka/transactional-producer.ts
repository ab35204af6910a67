// A topic in; transactions of a producer, committed or aborted, out. Our programs use none; other producers may.
import { dlopen } from "bun:ffi";
import { Client } from "../../shared/kafka/client.ts";
import { type Pointer, pointer, type Returned } from "../../shared/kafka/ffi/library.ts";
import { type KafkaUnderTest, libraryPath } from "./kafka-variants.ts";

const TIMEOUT_MS = 20_000;
const COPY = 2;

const { symbols: c } = dlopen(libraryPath, {
  rd_kafka_init_transactions: { args: ["ptr", "i32"], returns: "ptr" },
  rd_kafka_begin_transaction: { args: ["ptr"], returns: "ptr" },
  rd_kafka_commit_transaction: { args: ["ptr", "i32"], returns: "ptr" },
  rd_kafka_abort_transaction: { args: ["ptr", "i32"], returns: "ptr" },
});

export class TransactionalSender {
  readonly #client: Client;
  readonly #topic: Pointer;

  private constructor(client: Client, topic: Pointer) {
    this.#client = client;
    this.#topic = topic;
  }

  /** Blocks this thread: for tests only. */
  static async open(kafka: KafkaUnderTest, topic: string): Promise<TransactionalSender> {
    const settings = kafka.producerSettings({
      "transactional.id": crypto.randomUUID(),
      "message.timeout.ms": "10000",
    });
    const client = Client.create("producer", settings, 0);
    const at = pointer(client.library.c.rd_kafka_topic_new(client.handle, topic, null), "topic");
    const sender = new TransactionalSender(client, at);
    sender.#check(c.rd_kafka_init_transactions(client.handle, TIMEOUT_MS));
    return sender;
  }

  begin(values: readonly string[]): void {
    this.#check(c.rd_kafka_begin_transaction(this.#client.handle));
    for (const value of values) {
      const bytes = Buffer.from(value);
      this.#client.library.c.rd_kafka_produce(this.#topic, 0, COPY, bytes, bytes.length, null, 0, null);
    }
    // So that they are in the log, whatever becomes of them.
    this.#client.library.c.rd_kafka_flush(this.#client.handle, TIMEOUT_MS);
  }

  end(how: "commit" | "abort"): void {
    const finish = how === "commit" ? c.rd_kafka_commit_transaction : c.rd_kafka_abort_transaction;
    this.#check(finish(this.#client.handle, TIMEOUT_MS));
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
    const taken = this.#client.library.takeError(error, "transaction");
    if (taken) throw taken;
  }
}
