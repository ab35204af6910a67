// Reads stretches of logs as a read_committed reader outside of any group.
import { Client } from "../../../shared/kafka/client.ts";
import { EventType } from "../../../shared/kafka/ffi/bindings.ts";
import { pointer } from "../../../shared/kafka/ffi/memory.ts";
import { MessageReader } from "../../../shared/kafka/ffi/message-reader.ts";
import { PartitionTable } from "../../../shared/kafka/partition-table.ts";
import { consumerSettings } from "../../../shared/kafka/settings.ts";
import { RecordBlock } from "../../../shared/pipeline/record-block.ts";

/** Offsets [from, to) of a partition. */
export interface Stretch {
  readonly topic: string;
  readonly partition: number;
  readonly from: number;
  readonly to: number;
}

const BLOCK_RECORDS = 5000;
const POLL_MS = 5;

/**
 * Reads each record of the stretches. The record before each end must exist.
 * @param each gets the records of a partition in their order
 * @throws Error when not all could be read in time
 */
export async function readStretches(
  bootstrapServers: string,
  stretches: readonly Stretch[],
  each: (stretch: Stretch, offset: number, value: string) => void,
  timeoutMs: number,
): Promise<void> {
  const wanted = stretches.filter(({ from, to }) => to > from);
  if (wanted.length === 0) return;
  const settings = consumerSettings({ bootstrapServers, consumerGroup: "chaos-reader", passThrough: {} });
  const client = Client.create("consumer", settings, EventType.rebalance);
  const { library, handle } = client;
  const { c } = library;
  c.rd_kafka_poll_set_consumer(handle);
  const queue = pointer(c.rd_kafka_queue_get_consumer(handle), "queue");
  const table = new PartitionTable();
  const topics = [...new Set(wanted.map(({ topic }) => topic))].map((topic) => {
    const at = pointer(c.rd_kafka_topic_new(handle, topic, null), topic);
    table.addTopic(Number(at), topic);
    return at;
  });
  const bySlot = new Map(wanted.map((stretch) => [table.slot(stretch), stretch]));
  const left = new Set(bySlot.keys());
  const block = new RecordBlock(BLOCK_RECORDS);
  const reader = new MessageReader(library);
  let lastError = "";
  try {
    library.withPartitions(
      wanted.map(({ topic, partition, from }) => ({ topic, partition, offset: from })),
      (list) => library.throwError(c.rd_kafka_incremental_assign(handle, list), "assign"),
    );
    const deadline = performance.now() + timeoutMs;
    while (left.size > 0) {
      block.clear();
      const event = reader.takeRecords(queue, block, table);
      for (let index = 0; index < block.count; index++) {
        const slot = block.slot[index]!;
        const offset = block.offset[index]!;
        const stretch = bySlot.get(slot)!;
        if (offset >= stretch.to) continue;
        each(stretch, offset, block.value(index)?.toString("latin1") ?? "");
        if (offset === stretch.to - 1) left.delete(slot);
      }
      if (event !== undefined) {
        if (c.rd_kafka_event_type(event) === EventType.error) lastError = client.readError(event).message;
        c.rd_kafka_event_destroy(event);
      } else if (block.count === 0) await Bun.sleep(POLL_MS);
      if (performance.now() > deadline) {
        const missing = [...left].map((slot) => JSON.stringify(bySlot.get(slot)));
        throw new Error(`the log could not be read in time: ${missing.join(", ")} ${lastError}`);
      }
    }
  } finally {
    for (const topic of topics) c.rd_kafka_topic_destroy(topic);
    c.rd_kafka_queue_destroy(queue);
    client.destroy();
  }
}
