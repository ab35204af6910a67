// Faults of the logs themselves: more partitions, records deleted before they were read, a topic created again.
import { eventually } from "../../../support/eventually.ts";
import { EDGE_TOPIC, MAIN_TOPIC, RECOVERY_SETTINGS } from "../cluster.ts";
import type { Fault } from "../fault.ts";

const MAX_PARTITIONS = 12;
const BY_METADATA = `topic.metadata.refresh.interval.ms ${RECOVERY_SETTINGS.KAFKA_CONFIG_TOPIC_METADATA_REFRESH_INTERVAL_MS}`;
const DELETED_RECORDS = 200;
const WAIT_MS = 60_000;
const DELETED = /records were deleted by Kafka before they were read/;

export const LOG_FAULTS: readonly Fault[] = [
  {
    name: "partitions-added",
    about: "the main topic gets one more partition",
    parts: ["consumers", "brokers"],
    ruledBy: BY_METADATA,
    seconds: 15,
    inject: async ({ cluster }) => {
      const { length } = await cluster.inquiry.places([MAIN_TOPIC]);
      const grown = Math.min(MAX_PARTITIONS, length + 1);
      if (grown > length) {
        await cluster.kafka.tool("org.apache.kafka.tools.TopicCommand", [
          "--alter",
          "--topic",
          MAIN_TOPIC,
          "--partitions",
          String(grown),
        ]);
      }
      const newest = grown - 1;
      return {
        holdMs: 0,
        hasBitten: async () => {
          const [row] = await cluster.sql`
            select consumed::int from pipeline_offsets where topic = ${MAIN_TOPIC} and partition = ${newest}`;
          return row?.["consumed"] > 0
            ? `partition ${newest} is stored up to ${row!["consumed"]} records`
            : undefined;
        },
        heal: async () => {},
      };
    },
  },
  {
    name: "retention",
    about: "Kafka deletes records of the edge topic before they are read",
    parts: ["consumers", "edge topic", "brokers", "postgres"],
    ruledBy: BY_METADATA,
    seconds: 15,
    inject: async ({ cluster, journal }) => {
      const { fleet } = cluster;
      const before = fleet.timesPrinted(DELETED);
      await Promise.all(fleet.running.map((consumer) => fleet.end(consumer, "SIGTERM")));
      const [key] = (await journal.partitions()).filter(({ topic }) => topic === EDGE_TOPIC);
      const [row] = await cluster.sql<{ reading: number; next: number }[]>`
        select reading, next_offset::float8 as next from pipeline_offsets
        where topic_id = ${key!.topicId} and partition = ${key!.partition} and closed_at is null`;
      const from = row?.next ?? 0;
      const to = from + DELETED_RECORDS;
      await eventually(
        "there are records to delete",
        async () => (await cluster.inquiry.ends([key!]))[0]! > to,
        {
          timeoutMs: WAIT_MS,
        },
      );
      // What is deleted must be known before: it was acknowledged.
      await journal.readLogs();
      await cluster.kafka.deleteRecords(EDGE_TOPIC, key!.partition, to);
      // A topic that was never read begins where its log does, and loses nothing by our account.
      if (row !== undefined) journal.ledger.deletions.push({ ...key!, reading: row.reading, from, to });
      return {
        holdMs: 0,
        bitesAfterwards: true,
        hasBitten: async () => {
          return fleet.timesPrinted(DELETED) > before || row === undefined
            ? `offsets ${from} to ${to} were deleted, and the consumers said so`
            : undefined;
        },
        heal: () => fleet.scaleTo(2),
      };
    },
  },
  {
    name: "topic-recreated",
    about: "the edge topic is deleted and created again under the same name",
    parts: ["edge topic", "load", "brokers"],
    ruledBy: "look at the topic's id, every 5 s",
    seconds: 20,
    inject: async ({ cluster, journal }) => {
      const { load } = cluster;
      await load.stop();
      await journal.readLogs();
      // What is not stored of the old topic is gone with it; the ledger knows it, because no row accounts for it.
      await cluster.recreateEdgeTopic();
      load.start();
      const [, topicId] = load.topicIds;
      return {
        holdMs: 0,
        hasBitten: async () => {
          const [row] =
            await cluster.sql`select consumed::int from pipeline_offsets where topic_id = ${topicId}`;
          return row?.["consumed"] > 0
            ? `the new topic is stored up to ${row!["consumed"]} records`
            : undefined;
        },
        heal: async () => {},
      };
    },
  },
];
