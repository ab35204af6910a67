// A topic in; a producer that counts what became of its messages out.
import type { ErrorReport, Settings } from "../../shared/kafka/client.ts";
import { type DeliveryFailure, KafkaProducer } from "../../shared/kafka/producer.ts";
import { type KafkaUnderTest } from "./kafka-variants.ts";

export class Sender {
  readonly delivered: number[] = [];
  readonly failed: DeliveryFailure[] = [];
  readonly errors: ErrorReport[] = [];
  #producer: KafkaProducer | undefined;

  static async open(kafka: KafkaUnderTest, topic: string, passThrough: Settings = {}): Promise<Sender> {
    const sender = new Sender();
    sender.#producer = await KafkaProducer.open({
      settings: kafka.producerSettings(passThrough),
      topic,
      onWake: () => sender.#producer?.poll(),
      onDelivered: (opaque) => sender.delivered.push(opaque),
      onFailed: (failure) => sender.failed.push(failure),
      onError: (error) => sender.errors.push(error),
      onLog: () => {},
    });
    return sender;
  }

  get producer(): KafkaProducer {
    if (this.#producer === undefined) throw new Error("not open");
    return this.#producer;
  }

  /** Sends `0`, `1`, ... to the partitions in turn, and waits until all are delivered. */
  async sendNumbers(from: number, to: number, partitions: number): Promise<void> {
    for (let i = from; i < to; i++) {
      this.producer.send(undefined, Buffer.from(String(i)), i, { partition: i % partitions });
    }
    const left = await this.producer.flush(20_000);
    if (left > 0) throw new Error(`${left} messages were not delivered`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#producer?.close();
  }
}
