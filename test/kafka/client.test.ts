// Tests that a client reports fatal errors, and names the variables of refused settings.
import { dlopen } from "bun:ffi";
import { expect, test } from "bun:test";
import { Client } from "../../shared/kafka/client.ts";
import { KafkaConsumer } from "../../shared/kafka/consumer.ts";
import { EventType } from "../../shared/kafka/ffi/bindings.ts";
import { loadLibrary } from "../../shared/kafka/ffi/load-library.ts";
import { pointer } from "../../shared/kafka/ffi/memory.ts";
import { prepareNativeLibrary } from "../../shared/kafka/native-library.ts";
import { eventually } from "../support/eventually.ts";

await prepareNativeLibrary(() => {});

test("an error that ends a client is reported as fatal, with its cause", async () => {
  const { symbols } = dlopen(loadLibrary().path, {
    rd_kafka_test_fatal_error: { args: ["ptr", "i32", "cstring"], returns: "i32" },
  });
  const client = Client.create("producer", { "enable.idempotence": "true" }, 0);
  const { library, handle } = client;
  const queue = pointer(library.c.rd_kafka_queue_get_main(handle), "queue");
  expect(client.fatalError()).toBeUndefined();
  const OUT_OF_ORDER_SEQUENCE_NUMBER = 45;
  symbols.rd_kafka_test_fatal_error(handle, OUT_OF_ORDER_SEQUENCE_NUMBER, "a test");
  const event = await eventually("the event", () => {
    const next = library.nextEvent(queue);
    if (next === undefined || library.c.rd_kafka_event_type(next) === EventType.error) return next;
    library.c.rd_kafka_event_destroy(next); // a log line
    return undefined;
  });
  expect(client.readError(event)).toEqual({
    code: OUT_OF_ORDER_SEQUENCE_NUMBER,
    name: "OUT_OF_ORDER_SEQUENCE_NUMBER",
    message: "test_fatal_error: a test",
    fatal: true,
  });
  library.c.rd_kafka_event_destroy(event);
  library.c.rd_kafka_queue_destroy(queue);
  client.destroy();
});

test("refused settings are reported by their variables, all at once", async () => {
  const settings = {
    "bootstrap.servers": "127.0.0.1:1",
    "group.id": "g",
    "sasl.mekanism": "PLAIN",
    "security.protocol": "carrier-pigeon",
    "session.timeout.ms": "soon",
  };
  const opened = KafkaConsumer.open({ settings, topics: ["t"], onWake: () => {} });
  const error: unknown = await opened.catch((caught: unknown) => caught);
  expect(error).toMatchObject({
    name: "ConfigurationError",
    problems: [
      "KAFKA_CONFIG_SASL_MEKANISM: librdkafka has no property sasl.mekanism",
      expect.stringContaining("KAFKA_CONFIG_SECURITY_PROTOCOL: "),
      expect.stringContaining("KAFKA_CONFIG_SESSION_TIMEOUT_MS: "),
    ],
  });
});

test("settings that contradict each other are reported by their variables", () => {
  const settings = {
    "bootstrap.servers": "127.0.0.1:1",
    "group.id": "g",
    "max.poll.interval.ms": "1000",
    "session.timeout.ms": "2000",
  };
  expect(() => Client.create("consumer", settings, 0)).toThrow(
    expect.objectContaining({
      name: "ConfigurationError",
      problems: [expect.stringContaining("KAFKA_CONFIG_SESSION_TIMEOUT_MS")],
    }),
  );
});
