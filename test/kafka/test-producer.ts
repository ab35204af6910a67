// Opens the product's producer on a topic, and collects what it reports.
import type { DeliveryFailure } from "../../shared/event.ts";
import type { ErrorReport, Settings } from "../../shared/kafka/client.ts";
import { KafkaProducer } from "../../shared/kafka/producer.ts";
import type { KafkaUnderTest } from "./kafka-variants.ts";

export class TestProducer {
  readonly delivered: number[] = [];
  readonly failed: DeliveryFailure[] = [];
  readonly errors: ErrorReport[] = [];
  #producer: KafkaProducer | undefined;

  static async open(kafka: KafkaUnderTest, topic: string, passThrough: Settings = {}): Promise<TestProducer> {
    const opened = new TestProducer();
    opened.#producer = await KafkaProducer.open({
      settings: kafka.producerSettings(passThrough),
      topic,
      onWake: () => opened.#producer?.poll(),
      onDelivered: (opaque) => opened.delivered.push(opaque),
      onFailed: (failure) => opened.failed.push(failure),
      onError: (error) => opened.errors.push(error),
      onLog: () => {},
    });
    return opened;
  }

  get producer(): KafkaProducer {
    if (this.#producer === undefined) throw new Error("the producer is not open");
    return this.#producer;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#producer?.close();
  }
}
