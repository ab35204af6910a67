// Tests that topics exist when a program starts, or that one sentence explains why they cannot.
import { expect, test } from "bun:test";
import { ensureTopics, whyUnidentified } from "../../shared/kafka/admin.ts";
import { whyUnwritable } from "../../shared/kafka/unwritable-reason.ts";
import { AdminClient } from "../../shared/kafka/admin-client.ts";
import { adminSettings } from "../../shared/kafka/settings.ts";
import { FatalError } from "../../shared/runtime/errors.ts";
import { deleteTopics } from "../support/delete-topics.ts";
import { eventually } from "../support/eventually.ts";
import { KafkaCluster } from "../support/kafka.ts";
import { rejection } from "../support/rejection.ts";
import { clusterTest } from "../support/requirements.ts";
import { OldBroker } from "./old-broker.ts";
import { type KafkaUnderTest, onBoth, onEmbedded, onKafka } from "./kafka-variants.ts";

const newName = () => `test-${crypto.randomUUID()}`;

function options(
  kafka: Pick<KafkaUnderTest, "adminSettings">,
  topics: readonly string[],
  deadlineMs = 30_000,
) {
  return {
    settings: kafka.adminSettings(),
    topics,
    partitions: 3,
    replicationFactor: undefined,
    deadlineMs,
  };
}

/** The message of the FatalError that a promise rejects with. */
async function fatal(promise: Promise<unknown>): Promise<string> {
  const error: unknown = await promise.then(
    () => "nothing was thrown",
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(FatalError);
  return error instanceof FatalError ? error.message : "";
}

onBoth("an existing topic stays unchanged", async (kafka) => {
  const topic = await kafka.createTopic(2);
  const [found] = await ensureTopics({ ...options(kafka, [topic]), partitions: 7, replicationFactor: 5 });
  expect(found).toMatchObject({ topic, errorCode: 0, error: undefined });
  expect(found?.topicId).toMatch(/^[A-Za-z0-9_-]{22}$/);
  expect(found?.partitions.map(({ partition }) => partition)).toEqual([0, 1]);
  expect(await whyUnwritable(options(kafka, [topic]))).toEqual([]);
});

test("a broker from before topic ids gives its topics the id of the cluster", async () => {
  using broker = new OldBroker("old");
  const { bootstrapServers } = broker;
  const settings = adminSettings({ bootstrapServers, consumerGroup: "none", passThrough: {} });
  const found = await ensureTopics(options({ adminSettings: () => settings }, ["old"]));
  expect(found.map(({ topicId }) => topicId)).toEqual(["cluster-cluster"]);
  expect(found.map(whyUnidentified)).toEqual([expect.stringContaining("the brokers give topic old no id")]);
});

onKafka("missing topics are created once when several programs start together", async (kafka) => {
  const topics = [newName(), newName()];
  const all = await Promise.all([1, 2, 3].map(() => ensureTopics(options(kafka, topics))));
  for (const found of all) {
    expect(found.map(({ topic }) => topic).toSorted()).toEqual(topics.toSorted());
    for (const { topicId, partitions } of found) {
      expect(topicId).toBe(all[0]?.find((each) => each.topicId === topicId)?.topicId);
      expect(partitions).toMatchObject(
        [0, 1, 2].map((partition) => ({ partition, hasLeader: true, inSyncReplicas: 1 })),
      );
      expect(partitions.map(({ replicas }) => replicas.length)).toEqual([1, 1, 1]);
    }
  }
  await deleteTopics(kafka.adminSettings(), topics, 15_000);
  await deleteTopics(kafka.adminSettings(), topics, 15_000);
  await eventually("the topics are gone", async () => {
    const found = await kafka.describeTopics(topics);
    return found.every(({ errorCode, topicId }) => errorCode === 3 && topicId === undefined);
  });
});

onKafka("a created topic gets the requested settings", async (kafka) => {
  const topic = newName();
  await ensureTopics({ ...options(kafka, [topic]), topicSettings: { "retention.ms": "12345" } });
  const admin = await AdminClient.open(kafka.adminSettings());
  expect(await admin.topicSetting(topic, "retention.ms", 30_000)).toBe("12345");
  expect(await rejection(admin.topicSetting(topic, "no.such.setting", 30_000))).toMatchObject({
    message: expect.stringContaining("has no no.such.setting"),
  });
  const [broker] = await admin.brokers(30_000);
  expect(`${broker?.host}:${broker?.port}`).toBe(kafka.bootstrapServers);
  admin.close();
});

onKafka("a refusal by the cluster is reported at once", async (kafka) => {
  expect(await fatal(ensureTopics(options(kafka, ["a/b"])))).toMatch(
    /topic a\/b .*the topic's name is not valid/,
  );
  const topic = newName();
  const refused = { ...options(kafka, [topic]), topicSettings: { "retention.ms": "soon" } };
  expect(await fatal(ensureTopics(refused))).toMatch(/a setting of the topic is not valid .*retention\.ms/s);
});

onKafka("a topic with more replicas than brokers is retried until the deadline", async (kafka) => {
  const wanted = { ...options(kafka, [newName()], 20_000), replicationFactor: 3 };
  expect(await fatal(ensureTopics(wanted))).toMatch(/is not ready for .*replication factor.* 3/is);
});

onKafka("whyUnwritable names each reason why a topic cannot be written", async (kafka) => {
  const topic = newName();
  await ensureTopics({ ...options(kafka, [topic]), topicSettings: { "min.insync.replicas": "2" } });
  expect(await whyUnwritable(options(kafka, [topic, "no-such-topic"]))).toEqual([
    `topic ${topic}: 3 of 3 partitions have fewer replicas in sync (1) than min.insync.replicas asks for (2); it has fewer replicas than that in total`,
    "topic no-such-topic: Broker: Unknown topic or partition",
  ]);
});

onEmbedded("a broker that cannot create topics is reported", async (kafka) => {
  expect(await fatal(ensureTopics(options(kafka, ["t"])))).toContain(
    "the broker does not support this request",
  );
});

onEmbedded("ensureTopics waits for brokers that come up later", async (kafka) => {
  const topic = await kafka.createTopic(1);
  kafka.faults.setDown();
  const ensured = ensureTopics(options(kafka, [topic]));
  await Bun.sleep(1000);
  kafka.faults.setUp();
  expect((await ensured)[0]).toMatchObject({ topic, errorCode: 0 });
});

onEmbedded(
  "ensureTopics asks the new controller when the one it knew has died",
  async (kafka) => {
    const topic = await kafka.createTopic(1);
    kafka.faults.setController(2);
    kafka.faults.setDown(2);
    const ensuring = ensureTopics({
      settings: kafka.adminSettings(),
      topics: [topic],
      partitions: 1,
      replicationFactor: 1,
      deadlineMs: 60_000,
    });
    // Longer than an attempt: the client has learned of the old controller, and has asked it.
    await Bun.sleep(3000);
    kafka.faults.setController(3);
    expect(await ensuring).toMatchObject([{ topic, partitions: [{ partition: 0 }] }]);
  },
  3,
);

test("an error names the addresses when no broker answers", async () => {
  const settings = { "bootstrap.servers": "127.0.0.1:1,127.0.0.1:2" };
  const message = await fatal(ensureTopics({ ...options({ adminSettings: () => settings }, ["t"], 3000) }));
  expect(message).toMatch(
    /no Kafka broker answers at 127\.0\.0\.1:1,127\.0\.0\.1:2 .*KAFKA_BOOTSTRAP_SERVERS/,
  );
  expect(message).toContain("Connection refused");
});

test("an error says that a host name cannot be resolved", async () => {
  const settings = { "bootstrap.servers": "no-such-host.invalid:9092" };
  const message = await fatal(ensureTopics({ ...options({ adminSettings: () => settings }, ["t"], 5000) }));
  expect(message).toMatch(/no Kafka broker answers at no-such-host\.invalid:9092 .*resolve/s);
}, 30_000);

clusterTest(
  "an error says that credentials are wrong or missing",
  async () => {
    await using cluster = await KafkaCluster.start({ users: { app: "right" } });
    const login = (password: string) => ({
      "bootstrap.servers": cluster.bootstrapServers,
      "security.protocol": "sasl_plaintext",
      "sasl.mechanism": "SCRAM-SHA-256",
      "sasl.username": "app",
      "sasl.password": password,
    });
    const ensure = (settings: Record<string, string>) =>
      ensureTopics(options({ adminSettings: () => settings }, ["t"], 15_000));
    expect((await ensure(login("right")))[0]).toMatchObject({ topic: "t", errorCode: 0 });
    const wrong = await fatal(ensure(login("wrong-secret")));
    expect(wrong).toMatch(/refuses the credentials: .*[Aa]uthentication failed/s);
    expect(wrong).not.toContain("wrong-secret");
    const none = await fatal(ensure({ "bootstrap.servers": cluster.bootstrapServers }));
    expect(none).toContain("KAFKA_CONFIG_SECURITY_PROTOCOL if it requires TLS or SASL");
  },
  90_000,
);

clusterTest(
  "a cluster of three brokers gets three replicas, and a missing one is reported",
  async () => {
    await using cluster = await KafkaCluster.start({ brokers: 3 });
    const kafka = { adminSettings: () => ({ "bootstrap.servers": cluster.bootstrapServers }) };
    const topicSettings = { "min.insync.replicas": "3" };
    const [found] = await ensureTopics({ ...options(kafka, ["t"], 30_000), topicSettings });
    expect(found?.partitions.map(({ replicas }) => replicas.length)).toEqual([3, 3, 3]);
    expect(await whyUnwritable(options(kafka, ["t"]))).toEqual([]);
    await cluster.kill(2, "SIGKILL");
    await eventually(
      "the missing replica is reported",
      async () =>
        (await whyUnwritable(options(kafka, ["t"], 5000))).includes(
          "topic t: 3 of 3 partitions have fewer replicas in sync (2) than min.insync.replicas asks for (3)",
        ),
      { timeoutMs: 60_000 },
    );
  },
  150_000,
);
