// Tests the settings that librdkafka gets, and that it accepts them.
import { expect, test } from "bun:test";
import { Client, type Settings } from "../../shared/kafka/client.ts";
import { prepareNativeLibrary } from "../../shared/kafka/native-library.ts";
import {
  adminSettings,
  consumerSettings,
  keepsPlace,
  producerSettings,
} from "../../shared/kafka/settings.ts";

await prepareNativeLibrary(() => {});

const kafka = (passThrough: Settings = {}) => ({
  bootstrapServers: "127.0.0.1:1,127.0.0.1:2",
  consumerGroup: "group",
  passThrough,
});

test("the settings that exactly-once delivery depends on are set", () => {
  expect(consumerSettings(kafka())).toMatchObject({
    "bootstrap.servers": "127.0.0.1:1,127.0.0.1:2",
    "group.id": "group",
    "enable.auto.commit": "false",
    "enable.auto.offset.store": "false",
    "auto.offset.reset": "error",
    "isolation.level": "read_committed",
    "partition.assignment.strategy": "cooperative-sticky",
    "session.timeout.ms": "45000",
  });
  expect(producerSettings(kafka())).toMatchObject({
    "enable.idempotence": "true",
    acks: "all",
    "message.timeout.ms": "0",
    "compression.type": "lz4",
  });
});

test("a pass-through property overrides a default", () => {
  const passThrough = { "session.timeout.ms": "10000", "linger.ms": "50", "security.protocol": "plaintext" };
  expect(consumerSettings(kafka(passThrough))["session.timeout.ms"]).toBe("10000");
  expect(producerSettings(kafka(passThrough))["linger.ms"]).toBe("50");
  expect(adminSettings(kafka(passThrough))["security.protocol"]).toBe("plaintext");
});

test("the producer fits its batches to the topic, and its queue to the largest record", () => {
  const sizes = (topicBytes?: number, passThrough = {}) => {
    const settings = producerSettings(kafka(passThrough), topicBytes);
    return ["batch.size", "message.max.bytes", "queue.buffering.max.kbytes"].map((name) =>
      Number(settings[name]),
    );
  };
  expect(sizes()).toEqual([1_000_000, 1_052_684, 65_536]);
  expect(sizes(20_000)).toEqual([20_000, 1_052_684, 65_536]);
  expect(sizes(100_000_000)).toEqual([1_000_000, 100_004_096, 97_662]);
  expect(sizes(undefined, { "message.max.bytes": "200000000" })).toEqual([1_000_000, 200_000_000, 195_314]);
});

test("KIP-848 leaves out the session timeout and the assignor", () => {
  const settings = consumerSettings(kafka({ "group.protocol": "consumer" }));
  expect(settings).not.toHaveProperty("session.timeout.ms");
  expect(settings).not.toHaveProperty("partition.assignment.strategy");
});

test("the id of a static member is a different one for each worker", () => {
  const pod = { "group.instance.id": "pod-1" };
  expect(consumerSettings(kafka(pod), 0)["group.instance.id"]).toBe("pod-1-0");
  expect(consumerSettings(kafka(pod), 3)["group.instance.id"]).toBe("pod-1-3");
  expect(consumerSettings(kafka(), 3)).not.toHaveProperty("group.instance.id");
});

test("only a static member of the classic protocol keeps its place when it closes", () => {
  const pod = { "group.instance.id": "pod-1" };
  expect(keepsPlace(consumerSettings(kafka(pod)))).toBe(true);
  expect(keepsPlace(consumerSettings(kafka()))).toBe(false);
  expect(keepsPlace(consumerSettings(kafka({ ...pod, "group.protocol": "consumer" })))).toBe(false);
});

test.each([
  ["consumer", consumerSettings(kafka())],
  ["consumer", consumerSettings(kafka({ "group.instance.id": "pod-1" }), 1)],
  ["consumer", consumerSettings(kafka({ "group.protocol": "consumer" }))],
  ["producer", producerSettings(kafka())],
  ["producer", producerSettings(kafka(), 100)],
  ["producer", producerSettings(kafka(), 100_000_000)],
  ["producer", adminSettings(kafka())],
] as const)("librdkafka accepts the settings of a %s", (type, settings) => {
  const client = Client.create(type, settings, 0);
  client.destroy();
});
