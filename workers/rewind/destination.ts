// Reads the value of --to, and asks Kafka which offset of each partition it is.

import type { KafkaConfig } from "../../shared/config/config.ts";
import { AdminClient } from "../../shared/kafka/admin-client.ts";
import { adminSettings } from "../../shared/kafka/settings.ts";
import { withIdentity } from "../../shared/kafka/topic-description.ts";
import { parseTimestamp } from "../../shared/pipeline/timestamp.ts";
import { ConfigurationError, FatalError } from "../../shared/runtime/errors.ts";
import type { RewindTarget } from "../../shared/store/readings.ts";

const REQUEST_TIMEOUT_MS = 10_000;
/** The most digits that every such number holds exactly. */
const OFFSET = /^\d{1,15}$/;

/** A time of records in Kafka, ms since 1970, or an offset. */
export type Destination = { readonly fromMs: number } | { readonly offset: number };

/** @throws ConfigurationError */
export function parseDestination(text: string | undefined): Destination {
  if (text === undefined) throw new ConfigurationError(["--to is missing (see --help)"]);
  if (OFFSET.test(text)) return { offset: Number(text) };
  const time = parseTimestamp(text);
  if (time !== undefined) return { fromMs: time.ms };
  throw new ConfigurationError([
    `--to ${text}: must be an offset, or a time with a zone such as 2026-11-22T21:00:00Z (see --help)`,
  ]);
}

/**
 * The offset of each partition of a topic from which it is to be read again, within its log.
 * @param partition the only one, or all
 * @throws FatalError for a topic or partition that Kafka does not have, or whose log it does not describe
 */
export async function targetsOf(
  kafka: KafkaConfig,
  topic: string,
  partition: number | undefined,
  to: Destination,
): Promise<RewindTarget[]> {
  const admin = await AdminClient.open(adminSettings(kafka));
  try {
    const [found] = await admin.describeTopics([topic], REQUEST_TIMEOUT_MS);
    const description = found && withIdentity(found);
    const topicId = description?.topicId;
    if (description === undefined || topicId === undefined)
      throw new FatalError(`Kafka has no topic ${topic}`);
    const places = description.partitions
      .filter((each) => partition === undefined || each.partition === partition)
      .map((each) => ({ topic, partition: each.partition }));
    if (places.length === 0) throw new FatalError(`${topic} has no partition ${partition}`);
    const beginnings = await admin.listOffsets(places, "beginning", REQUEST_TIMEOUT_MS);
    const wanted =
      "offset" in to
        ? places.map(() => to.offset)
        : await admin.listOffsets(places, { fromMs: to.fromMs }, REQUEST_TIMEOUT_MS);
    return places.map((place, index) => {
      const beginning = beginnings[index];
      const at = wanted[index];
      if (beginning === undefined || at === undefined) {
        throw new FatalError(`Kafka does not tell the offsets of ${topic}[${place.partition}]: try again`);
      }
      return { ...place, topicId, at: Math.max(beginning, at) };
    });
  } finally {
    admin.close();
  }
}
