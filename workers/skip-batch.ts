// Goes on behind a batch of records that the Kafka client cannot read: `bun run skip-batch TOPIC PARTITION [--yes]`.

import { type Config, loadConfig } from "../shared/config/config.ts";
import { AdminClient } from "../shared/kafka/admin-client.ts";
import { prepareNativeLibrary } from "../shared/kafka/native-library.ts";
import { adminSettings, consumerSettings } from "../shared/kafka/settings.ts";
import { withIdentity } from "../shared/kafka/topic-description.ts";
import { ConfigurationError, FatalError } from "../shared/runtime/errors.ts";
import { runProgram } from "../shared/runtime/run-program.ts";
import { endWorkerSessions } from "../shared/store/database-owner.ts";
import { type StoredOffset, skipGap } from "../shared/store/offsets.ts";
import { readPositions } from "../shared/store/positions.ts";
import { Session } from "../shared/store/session.ts";
import { explainUnavailable } from "../shared/store/unavailable.ts";
import { count } from "../shared/text/format.ts";
import { say } from "./print.ts";
import { findUnreadableBatch } from "./skip-batch/unreadable-batch.ts";

const USAGE = `Usage: bun run skip-batch TOPIC PARTITION [--yes] [--help]

Finds the end of a batch of records that the Kafka client cannot read, at the stored offset of a partition, and goes on
behind it. The records of the batch are lost to the pipeline: they are counted as deleted, and stay in Kafka. Consumers
that run resync. Configured by environment variables (DB_*, KAFKA_*; see config.example.env).

  --yes  moves the stored offset; without it the offsets are shown, and nothing is changed

Exit code: 0 the batch was found (with --yes: skipped), 1 the records can be read or something failed, 2 wrong usage or
configuration.
`;

const REQUEST_TIMEOUT_MS = 10_000;

await runProgram(
  { usage: USAGE, options: { yes: { type: "boolean" } }, isArgument: () => true },
  async (_, { yes = false }, [topic, partition, ...others]) => {
    if (topic === undefined || !/^\d{1,9}$/.test(partition ?? "") || others.length > 0) {
      throw new ConfigurationError(["the arguments are a topic and the number of a partition (see --help)"]);
    }
    await skipBatch(loadConfig(process.env, "check"), { topic, partition: Number(partition) }, yes);
    return 0;
  },
);

async function skipBatch(
  { kafka, database }: Config,
  place: { topic: string; partition: number },
  isToSkip: boolean,
): Promise<void> {
  const name = `${place.topic}[${place.partition}]`;
  await prepareNativeLibrary(say);
  const { topicId, end } = await describe(kafka, place);
  const session = await Session.open(database, { role: "main", consumerGroup: kafka.consumerGroup }).catch(
    (error: unknown) => {
      throw explainUnavailable(error, database);
    },
  );
  try {
    const [position] = await session.run((sql) => readPositions(sql, [{ ...place, topicId }]));
    if (position?.kind === "locked")
      throw new FatalError(`a consumer is storing records of ${name}: try again`);
    if (position?.kind !== "stored") throw new FatalError(`${name} was never read into this database`);
    const { reading, nextOffset } = position;
    if (nextOffset >= end) throw new FatalError(`${name} is read to its end, ${count(end)}`);
    // A group of its own: this one must take no partition from the consumers.
    const settings = consumerSettings({
      ...kafka,
      consumerGroup: `${kafka.consumerGroup}-skip-batch-${crypto.randomUUID()}`,
    });
    const batch = await findUnreadableBatch(settings, place, nextOffset, end);
    if (batch === undefined)
      throw new FatalError(`the record at ${name}@${nextOffset} can be read: nothing is skipped`);
    const lost = `${count(batch.next - nextOffset)} offsets, ${nextOffset} to ${batch.next - 1}, of ${name}`;
    if (!isToSkip) return say(`${batch.reason}; --yes would skip ${lost}`);
    const from: StoredOffset = { ...place, topicId, reading, nextOffset };
    if (!(await session.run((sql) => skipGap(sql, from, batch.next)))) {
      throw new FatalError(`the stored offset of ${name} has moved meanwhile: nothing is skipped`);
    }
    const ended = await session.run((sql) => sql.begin(endWorkerSessions));
    say(`${batch.reason}; skipped ${lost}, and counted them as deleted. ${ended.length} workers resync`);
  } finally {
    await session.close();
  }
}

async function describe(
  kafka: Config["kafka"],
  place: { topic: string; partition: number },
): Promise<{ topicId: string; end: number }> {
  const admin = await AdminClient.open(adminSettings(kafka));
  try {
    const [found] = await admin.describeTopics([place.topic], REQUEST_TIMEOUT_MS);
    const topicId = found && withIdentity(found).topicId;
    if (topicId === undefined) throw new FatalError(`Kafka has no topic ${place.topic}`);
    const [end] = await admin.listOffsets([place], "end", REQUEST_TIMEOUT_MS);
    if (end === undefined)
      throw new FatalError(`Kafka does not tell the end of ${place.topic}[${place.partition}]`);
    return { topicId, end };
  } finally {
    admin.close();
  }
}
