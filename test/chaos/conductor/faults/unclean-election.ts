// The fault of an unclean election: Kafka itself loses acknowledged records, and writes others in their place.
import { eventually } from "../../../support/eventually.ts";
import { type ChaosCluster, EDGE_TOPIC } from "../cluster.ts";
import { brokerIndex } from "../kafka-inquiry.ts";
import type { Fault } from "../fault.ts";
import type { LogKey } from "../log-history.ts";

/** So many records are stored before they are cut off. */
const CUT_RECORDS = 100;
/** Other faults may hold up the flow for a minute. */
const WAIT_MS = 120_000;
const CUT = /the log was cut below offset/;

/** The places of the edge topic's only partition. */
async function edgePlaces(cluster: ChaosCluster) {
  const [places] = await cluster.inquiry.places([EDGE_TOPIC]);
  return places!;
}

async function isStoredUpTo(
  cluster: ChaosCluster,
  { topicId, partition }: LogKey,
  offset: number,
): Promise<boolean> {
  const [row] = await cluster.sql<{ next: number }[]>`
    select next_offset::float8 as next from pipeline_offsets
    where topic_id = ${topicId} and partition = ${partition} and closed_at is null`;
  return (row?.next ?? 0) >= offset;
}

export const UNCLEAN_ELECTION: Fault = {
  name: "unclean-election",
  about:
    "a replica that lacks the last records becomes the leader of the edge topic: its log is cut, and rewritten",
  parts: ["edge topic", "brokers", "load"],
  ruledBy: "topic.metadata.refresh.interval.ms 3000",
  seconds: 30,
  inject: async ({ cluster, journal }) => {
    const { fleet, kafka, load } = cluster;
    await cluster.inquiry.allInSync();
    const before = fleet.timesPrinted(CUT);
    const [key] = (await journal.partitions()).filter(({ topic }) => topic === EDGE_TOPIC);
    const { leader, replicas } = await edgePlaces(cluster);
    const old = brokerIndex(leader);
    const behind = brokerIndex(replicas.find((replica) => replica !== leader));
    const forbidFailedStarts = fleet.allowFailedStarts();

    // What is acknowledged and stored without the follower will be lost.
    await kafka.kill(behind, "SIGKILL");
    await eventually("the leader is alone", async () => (await edgePlaces(cluster)).inSync.length === 1, {
      timeoutMs: WAIT_MS,
    });
    const [alone] = await cluster.inquiry.ends([key!]);
    await eventually(
      "records are stored that only the leader has",
      () => isStoredUpTo(cluster, key!, alone! + CUT_RECORDS),
      { timeoutMs: WAIT_MS },
    );
    await load.stop();
    // What is cut off must be known before.
    await journal.readLogs();
    const [lost] = await cluster.inquiry.ends([key!]);

    await kafka.kill(old, "SIGKILL");
    await kafka.restart(behind);
    await eventually(
      "the replica that lacks records is elected",
      async () => brokerIndex((await edgePlaces(cluster)).leader) === behind,
      { timeoutMs: WAIT_MS },
    );
    const [beginning] = await cluster.inquiry.beginnings([key!]);
    const cut = await journal.findCut(key!, Math.max(beginning!, alone! - CUT_RECORDS));
    if (cut !== undefined) load.logWasCut(key!, cut);
    load.start();
    return {
      holdMs: 0,
      bitesAfterwards: true,
      hasBitten: async () => {
        if (cut === undefined || fleet.timesPrinted(CUT) === before) return undefined;
        return `the log was cut at ${cut}, ${lost! - cut} records are gone, and the consumers said so`;
      },
      heal: async () => {
        await kafka.restart(old);
        forbidFailedStarts();
      },
    };
  },
};
