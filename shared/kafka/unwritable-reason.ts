// Explains why records cannot be written to a topic, as far as the brokers can tell.
import type { AdminOptions } from "./admin.ts";
import { AdminClient } from "./admin-client.ts";

/**
 * Explains why records cannot be written to topics with acks=all, one sentence for each reason; empty when they can.
 * @throws KafkaError when no broker answers in time
 */
export async function whyUnwritable(options: AdminOptions): Promise<string[]> {
  const admin = await AdminClient.open(options.settings);
  try {
    const reasons: string[] = [];
    for (const description of await admin.describeTopics(options.topics, options.deadlineMs)) {
      const { topic, error, partitions } = description;
      if (error !== undefined) {
        reasons.push(`topic ${topic}: ${error}`);
        continue;
      }
      const leaderless = partitions.filter(({ hasLeader }) => !hasLeader);
      if (leaderless.length > 0) {
        reasons.push(
          `topic ${topic}: ${leaderless.length} of ${partitions.length} partitions have no leader`,
        );
      }
      const setting = await admin
        .topicSetting(topic, "min.insync.replicas", options.deadlineMs)
        .catch(() => undefined);
      const needed = Number(setting ?? 1);
      const short = partitions.filter(
        ({ hasLeader, inSyncReplicas }) => hasLeader && inSyncReplicas < needed,
      );
      if (short.length > 0) {
        const fewest = Math.min(...short.map(({ inSyncReplicas }) => inSyncReplicas));
        const never = short.some(({ replicas }) => replicas.length < needed)
          ? "; it has fewer replicas than that in total"
          : "";
        reasons.push(
          `topic ${topic}: ${short.length} of ${partitions.length} partitions have fewer replicas in sync (${fewest}) than min.insync.replicas asks for (${needed})${never}`,
        );
      }
    }
    return reasons;
  } finally {
    admin.close();
  }
}
