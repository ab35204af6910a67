// Tests that asking about a group is harmless while its coordinator is away.
import { expect } from "bun:test";
import { AdminClient } from "../../shared/kafka/admin-client.ts";
import { ErrorCode } from "../../shared/kafka/error-codes.ts";
import { KafkaError } from "../../shared/kafka/kafka-error.ts";
import { eventually } from "../support/eventually.ts";
import { type KafkaUnderTest, onEmbedded } from "./kafka-variants.ts";

/** A client that has asked in vain, because the broker is down, and whose broker is up again. */
async function askedInVain(kafka: KafkaUnderTest): Promise<AdminClient> {
  const topic = await kafka.createTopic(1);
  const admin = await AdminClient.open(kafka.adminSettings({ "reconnect.backoff.max.ms": "100" }));
  await admin.describeTopics([topic], 5000);
  kafka.faults.setDown();
  await expect(admin.describeGroup("group", 200)).rejects.toThrow(KafkaError);
  kafka.faults.setUp();
  return admin;
}

/** The embedded broker refuses the question, and so has answered it. */
async function isAnswered(admin: AdminClient): Promise<boolean> {
  const code = await admin.describeGroup("group", 2000).then(
    () => ErrorCode.none,
    (error: unknown) => (error instanceof KafkaError ? error.code : ErrorCode.timedOut),
  );
  return code !== ErrorCode.timedOut;
}

onEmbedded("a coordinator that comes back after a question has timed out ends no process", async (kafka) => {
  const admin = await askedInVain(kafka);
  try {
    // The coordinator takes the question that was given up before this one.
    await eventually("the coordinator answers", () => isAnswered(admin));
  } finally {
    admin.close();
  }
});

onEmbedded("a client is closed while a question that was given up still waits", async (kafka) => {
  const admin = await askedInVain(kafka);
  admin.close();
  const other = await AdminClient.open(kafka.adminSettings());
  try {
    await eventually("the coordinator answers others", () => isAnswered(other));
  } finally {
    other.close();
  }
});
