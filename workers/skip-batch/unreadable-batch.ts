// Finds where a batch of records ends that librdkafka cannot read.

import type { TopicPartition } from "../../shared/event.ts";
import { KafkaConsumer } from "../../shared/kafka/consumer.ts";
import type { Settings } from "../../shared/kafka/client.ts";
import { RecordBlock } from "../../shared/pipeline/record-block.ts";
import { FatalError } from "../../shared/runtime/errors.ts";

const PROBE_DEADLINE_MS = 20_000;
const POLL_MS = 10;
const CLOSE_DEADLINE_MS = 5000;

/** The first offset behind the batch, and why it cannot be read. */
export interface UnreadableBatch {
  readonly next: number;
  readonly reason: string;
}

/** What is found at an offset: the batch (by its first offset) that cannot be read there, or a record. */
type Probe = { readonly batch: number; readonly reason: string } | "readable";

/**
 * Tries to read at `from`, and where that fails at offsets behind it. The batch's own error names its first offset, so
 * another unreadable batch behind it is told apart, and is not skipped with it.
 *
 * @param settings of a consumer, whose group no other client uses
 * @param end of the log
 * @returns undefined where the record at `from` can be read
 * @throws FatalError where Kafka shows neither a record nor an unreadable batch in time
 */
export async function findUnreadableBatch(
  settings: Settings,
  place: TopicPartition,
  from: number,
  end: number,
): Promise<UnreadableBatch | undefined> {
  const consumer = await KafkaConsumer.open({ settings, topics: [place.topic], onWake: () => {} });
  try {
    const first = await probe(consumer, place, from);
    if (first === "readable") return undefined;
    const isIn = async (offset: number): Promise<boolean> => {
      if (offset >= end) return false;
      const found = await probe(consumer, place, offset);
      return found !== "readable" && found.batch === first.batch;
    };
    // `last` is in the batch, `next` is behind it.
    let last = from;
    let next = from + 1;
    while (await isIn(next)) {
      const step = next - from;
      last = next;
      next = Math.min(end, next + step);
    }
    while (next - last > 1) {
      const middle = last + Math.floor((next - last) / 2);
      if (await isIn(middle)) last = middle;
      else next = middle;
    }
    return { next, reason: first.reason };
  } finally {
    await consumer.close(CLOSE_DEADLINE_MS);
  }
}

async function probe(consumer: KafkaConsumer, place: TopicPartition, offset: number): Promise<Probe> {
  const start = { ...place, offset };
  const block = new RecordBlock(1, 1024);
  const deadline = performance.now() + PROBE_DEADLINE_MS;
  consumer.fetch([start]);
  while (performance.now() < deadline) {
    const event = consumer.poll(block);
    if (block.count > 0) return "readable";
    if (event === undefined) await Bun.sleep(POLL_MS);
    else if (event.kind === "assign") consumer.acknowledgeAssign([start]);
    else if (event.kind === "revoke") consumer.acknowledgeRevoke();
    else if (event.kind === "unreadable") return { batch: event.offset, reason: event.reason };
  }
  throw new FatalError(
    `Kafka has shown neither a record nor an unreadable batch at ${place.topic}[${place.partition}]@${offset} ` +
      `within ${PROBE_DEADLINE_MS / 1000} s`,
  );
}
