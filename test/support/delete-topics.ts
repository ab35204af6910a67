// Deletes topics with librdkafka's admin API, which the programs themselves never use.
import { dlopen } from "bun:ffi";
import { AdminRequests } from "../../shared/kafka/admin-requests.ts";
import { Client, type Settings } from "../../shared/kafka/client.ts";
import { ErrorCode } from "../../shared/kafka/error-codes.ts";
import { loadLibrary } from "../../shared/kafka/ffi/load-library.ts";
import { pointer } from "../../shared/kafka/ffi/memory.ts";
import { prepareNativeLibrary } from "../../shared/kafka/native-library.ts";

const POLL_MS = 5;
/** rd_kafka_admin_op_t */
const DELETE_TOPICS = 2;

function loadFunctions() {
  return dlopen(loadLibrary().path, {
    rd_kafka_DeleteTopic_new: { args: ["cstring"], returns: "ptr" },
    rd_kafka_DeleteTopic_destroy: { args: ["ptr"], returns: "void" },
    rd_kafka_DeleteTopics: { args: ["ptr", "ptr", "u64", "ptr", "ptr"], returns: "void" },
    rd_kafka_DeleteTopics_result_topics: { args: ["ptr", "ptr"], returns: "ptr" },
  }).symbols;
}

/**
 * Deletes topics with all of their records; a topic that does not exist is not an error.
 * @throws KafkaError for the first topic that is refused
 */
export async function deleteTopics(
  settings: Settings,
  topics: readonly string[],
  timeoutMs: number,
): Promise<void> {
  await prepareNativeLibrary(() => {});
  const own = loadFunctions();
  const client = Client.create("producer", settings, 0);
  const requests = new AdminRequests(client);
  const timer = setInterval(() => requests.poll(), POLL_MS);
  const { library, handle } = client;
  try {
    const results = await requests.send({
      what: `${topics.join(", ")} cannot be deleted`,
      operation: DELETE_TOPICS,
      timeoutMs,
      send: (options, queue) => {
        const made = topics.map((topic) => pointer(own.rd_kafka_DeleteTopic_new(topic), "DeleteTopic"));
        own.rd_kafka_DeleteTopics(handle, library.array(made), made.length, options, queue);
        for (const at of made) own.rd_kafka_DeleteTopic_destroy(at);
      },
      read: (event) =>
        library
          .pointers(own.rd_kafka_DeleteTopics_result_topics, event)
          .map((at) => library.c.rd_kafka_topic_result_error(at)),
    });
    for (const code of results) {
      if (code !== ErrorCode.unknownTopicOrPartition)
        library.check(code, `cannot delete ${topics.join(", ")}`);
    }
  } finally {
    clearInterval(timer);
    requests.close("the client was closed");
    client.destroy();
  }
}
