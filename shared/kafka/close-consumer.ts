// Closes a member of the group: it answers its last rebalances, leaves, and frees what it holds.
import type { AdminRequests } from "./admin-requests.ts";
import type { Client } from "./client.ts";
import { readConsumerEvent } from "./consumer-event.ts";
import type { Pointer } from "./ffi/memory.ts";
import type { LibrdkafkaAssignment } from "./librdkafka-assignment.ts";
import type { QueueEvents } from "./queue-events.ts";

const CLOSE_POLL_MS = 2;
const LATE_CLOSE_POLL_MS = 100;

/** What a member holds of librdkafka. */
export interface ConsumerParts {
  readonly client: Client;
  /** The group's events, errors, log lines and the results of commits. */
  readonly events: Pointer;
  /** Records, and errors of the partition behind whose records they come. */
  readonly records: Pointer;
  /** Held for the partition table. */
  readonly topics: readonly Pointer[];
  readonly assignment: LibrdkafkaAssignment;
  readonly requests: AdminRequests;
  readonly queueEvents: QueueEvents;
  /** The group keeps the place of a member that closes, as it does for a static one. */
  readonly keepsPlace: boolean;
}

/**
 * Leaves the group, unless the member keeps its place there, and frees everything. Rebalances that come are answered,
 * records that come are dropped. After the deadline it stops waiting for the group's coordinator, and frees the rest in
 * the background.
 */
export async function closeConsumer(parts: ConsumerParts, deadlineMs: number): Promise<void> {
  const { client, events, assignment, requests, queueEvents, keepsPlace } = parts;
  const { library, handle } = client;
  const { c } = library;
  const deadline = performance.now() + deadlineMs;
  queueEvents.close();
  requests.close("the consumer was closed");
  acknowledgeRebalance(assignment);
  assignment.stopAll();
  discardAll(parts);
  assignment.leave();
  // Unsubscribing would give up the place (rd_kafka_cgrp_leave_maybe skips LeaveGroup only while terminating).
  if (!keepsPlace) await unsubscribe(parts, deadline - deadlineMs / 5);
  const refused = library.takeError(c.rd_kafka_consumer_close_queue(handle, events), "close");
  const closed = () => refused !== undefined || c.rd_kafka_consumer_closed(handle) !== 0;
  while (!closed() && performance.now() < deadline) {
    if (!discardAll(parts)) await Bun.sleep(CLOSE_POLL_MS);
  }
  if (closed()) {
    free(parts);
    return;
  }
  // Freeing it now would block this thread until the coordinator answers, up to 5 s. A thread that ends before
  // takes the timer with it; then the process is about to end too.
  const timer = setInterval(() => {
    discardAll(parts);
    if (!closed()) return;
    clearInterval(timer);
    free(parts);
  }, LATE_CLOSE_POLL_MS);
  timer.unref();
}

/**
 * Closed while subscribed, a member without partitions never sends LeaveGroup (rd_kafka_cgrp_revoke_all_rejoin:
 * "terminating, skipping rejoin"), and the next rebalance waits for its session to end. During a rebalance librdkafka
 * postpones the unsubscribe ("postponing subscribe") until JoinGroup is answered, which takes until the other
 * members' next heartbeat. Closing before that skips LeaveGroup as well.
 */
async function unsubscribe(parts: ConsumerParts, deadline: number): Promise<void> {
  const { library, handle } = parts.client;
  library.c.rd_kafka_unsubscribe(handle);
  while (library.subscribedTopics(handle) > 0 && performance.now() < deadline) {
    if (!discardAll(parts)) await Bun.sleep(CLOSE_POLL_MS);
  }
}

function free(parts: ConsumerParts): void {
  const { client, events, records, topics } = parts;
  const { c } = client.library;
  discardAll(parts);
  for (const topic of topics) c.rd_kafka_topic_destroy(topic);
  c.rd_kafka_queue_destroy(records);
  c.rd_kafka_queue_destroy(events);
  client.destroy();
}

/** @returns true when there was an event or a record */
function discardAll({ client, events, records, assignment }: ConsumerParts): boolean {
  const { library } = client;
  let any = false;
  for (;;) {
    const event = library.nextEvent(events) ?? library.nextEvent(records);
    if (event === undefined) return any;
    any = true;
    readConsumerEvent(client, assignment, event);
    acknowledgeRebalance(assignment);
  }
}

function acknowledgeRebalance(assignment: LibrdkafkaAssignment): void {
  const { unanswered } = assignment;
  if (unanswered === "assign") assignment.acknowledgeAssign(new Map());
  else if (unanswered === "revoke") assignment.acknowledgeRevoke();
}
