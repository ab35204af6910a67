// A topic in; how far each of its partitions reaches, asked of the broker again and again, out.
import type { TopicPartition } from "../../shared/event.ts";
import { Client } from "../../shared/kafka/client.ts";
import { listOffsets } from "../../shared/kafka/list-offsets.ts";
import { AdminRequests } from "../../shared/kafka/admin-requests.ts";
import { adminSettings } from "../../shared/kafka/settings.ts";
import { QueueEvents } from "../../shared/kafka/queue-events.ts";
import { CONSUMER_GROUP, type Servers, TOPIC } from "./servers.ts";

const REQUEST_TIMEOUT_MS = 5000;
const PARTITIONS: readonly TopicPartition[] = Array.from({ length: TOPIC.partitions }, (_, partition) => ({
  topic: TOPIC.name,
  partition,
}));

export class LogEnds {
  readonly #client: Client;
  readonly #requests: AdminRequests;
  readonly #wake: QueueEvents;

  private constructor(client: Client, requests: AdminRequests, wake: QueueEvents) {
    this.#client = client;
    this.#requests = requests;
    this.#wake = wake;
  }

  static async open({ broker: { bootstrapServers } }: Servers): Promise<LogEnds> {
    const settings = adminSettings({ bootstrapServers, consumerGroup: CONSUMER_GROUP, passThrough: {} });
    const client = Client.create("producer", settings, 0);
    const requests = new AdminRequests(client);
    const wake = await QueueEvents.open(client.library, () => requests.poll());
    wake.watch(requests.queue);
    return new LogEnds(client, requests, wake);
  }

  /** The offset after the last record, by partition number. @throws KafkaError when the broker does not answer */
  async read(): Promise<number[]> {
    const ends = await listOffsets(this.#client, this.#requests, PARTITIONS, "end", REQUEST_TIMEOUT_MS);
    return ends.map((end) => end ?? 0);
  }

  close(): void {
    this.#wake.close();
    this.#requests.close("the demo ends");
    this.#client.destroy();
  }
}
