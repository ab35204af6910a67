// Notices partitions that no member of the group owns.

import type { TopicPartition } from "../../shared/event.ts";
import { AdminClient } from "../../shared/kafka/admin-client.ts";
import type { Settings } from "../../shared/kafka/client.ts";

export interface OwnershipWatchOptions {
  /** See `adminSettings`. */
  readonly settings: Settings;
  readonly group: string;
  readonly topics: readonly string[];
  /** Called where the same partitions had no owner in a stable group at two looks in a row. */
  readonly onUnowned: (partitions: readonly TopicPartition[]) => void;
}

const LOOK_MS = 10_000;
const REQUEST_TIMEOUT_MS = 5000;

/**
 * Compares at intervals the partitions of the topics with those that the group's members own.
 *
 * The leader of a classic group shares out the partitions of the moment at which it asks for them. A topic that is
 * missing at that moment, because it is being deleted and created again, is left out; and librdkafka shares out again only
 * when it has seen the number of its partitions change since the last time, which it may not have.
 */
export class OwnershipWatch {
  #admin: AdminClient;
  readonly #options: OwnershipWatchOptions;
  readonly #timer: Timer;
  #unowned: readonly TopicPartition[] = [];
  #isLooking = false;
  #isClosed = false;

  private constructor(admin: AdminClient, options: OwnershipWatchOptions) {
    this.#admin = admin;
    this.#options = options;
    this.#timer = setInterval(() => void this.look(), LOOK_MS);
  }

  static async open(options: OwnershipWatchOptions): Promise<OwnershipWatch> {
    return new OwnershipWatch(await AdminClient.open(options.settings), options);
  }

  /** Never rejects: where Kafka does not answer, the workers report it, and the next look tells. */
  async look(): Promise<void> {
    if (this.#isLooking) return;
    this.#isLooking = true;
    const before = this.#unowned;
    this.#unowned = await this.#findUnowned().catch(() => this.#renewAdmin());
    this.#isLooking = false;
    const remaining = this.#unowned.filter((partition) => isAmong(before, partition));
    if (remaining.length === 0) return;
    // The group needs some time to share out again.
    this.#unowned = [];
    this.#options.onUnowned(remaining);
  }

  close(): void {
    this.#isClosed = true;
    clearInterval(this.#timer);
    this.#admin.close();
  }

  /** The request that failed still waits for the group's coordinator. @returns nothing found */
  async #renewAdmin(): Promise<TopicPartition[]> {
    if (this.#isClosed) return [];
    const admin = await AdminClient.open(this.#options.settings);
    this.#admin.close();
    this.#admin = admin;
    if (this.#isClosed) admin.close();
    return [];
  }

  async #findUnowned(): Promise<TopicPartition[]> {
    const { topics, group } = this.#options;
    const { isStable, partitions: owned } = await this.#admin.describeGroup(group, REQUEST_TIMEOUT_MS);
    if (!isStable) return [];
    const found = await this.#admin.describeTopics(topics, REQUEST_TIMEOUT_MS);
    return found
      .flatMap(({ topic, partitions }) => partitions.map(({ partition }) => ({ topic, partition })))
      .filter((partition) => !isAmong(owned, partition));
  }
}

function isAmong(partitions: readonly TopicPartition[], { topic, partition }: TopicPartition): boolean {
  return partitions.some((other) => other.topic === topic && other.partition === partition);
}
