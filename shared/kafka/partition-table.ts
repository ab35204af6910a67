// Numbers the partitions of a consumer, so that a record carries one small number (a slot).
import type { TopicPartition } from "../event.ts";

/** What no partition has as its slot yet. */
const NO_SLOT = -1;
const INITIAL_SLOTS = 64;

interface Topic {
  readonly handle: number;
  readonly name: string;
  /** The slot of each partition seen so far, by partition number. */
  slots: Int32Array;
}

/**
 * Numbers partitions in the order in which they are first seen. A slot is never reused, so a record keeps its meaning
 * when partitions come and go.
 */
export class PartitionTable {
  /**
   * By slot: the least offset of the next record. Records below it were handed over before. It is another array when
   * partitions were added.
   */
  nextOffset = new Float64Array(INITIAL_SLOTS);
  readonly #partitions: TopicPartition[] = [];
  readonly #byHandle = new Map<number, Topic>();
  readonly #byName = new Map<string, Topic>();
  #lastTopic = makeTopic(0, "");

  /** @param handle the topic's address, which must stay valid, and so unique, for as long as this table */
  addTopic(handle: number, name: string): void {
    const topic = makeTopic(handle, name);
    this.#byHandle.set(handle, topic);
    this.#byName.set(name, topic);
  }

  /** The names of the topics, in the order in which they were added. */
  get topics(): string[] {
    return [...this.#byName.keys()];
  }

  /** The topic of the last record, and the slots of its partitions, -1 where one has none. */
  get lastTopic(): { readonly handle: number; readonly slots: Int32Array } {
    return this.#lastTopic;
  }

  /** The slot of a message's partition. @throws for a topic that was never added */
  slotOf(handle: number, partition: number): number {
    if (handle !== this.#lastTopic.handle) {
      const topic = this.#byHandle.get(handle);
      if (topic === undefined) throw new Error("a record came of a topic that is not subscribed to");
      this.#lastTopic = topic;
    }
    return this.#slotIn(this.#lastTopic, partition);
  }

  /** The slot of a partition by its topic's name. @throws for a topic that was never added */
  slot({ topic: name, partition }: TopicPartition): number {
    const topic = this.#byName.get(name);
    if (topic === undefined) throw new Error(`the topic ${name} is not subscribed to`);
    return this.#slotIn(topic, partition);
  }

  topicPartition(slot: number): TopicPartition {
    const found = this.#partitions[slot];
    if (found === undefined) throw new Error(`no partition has the slot ${slot}`);
    return found;
  }

  #slotIn(topic: Topic, partition: number): number {
    const slot = topic.slots[partition] ?? NO_SLOT;
    return slot === NO_SLOT ? this.#add(topic, partition) : slot;
  }

  #add(topic: Topic, partition: number): number {
    const slot = this.#partitions.length;
    this.#partitions.push({ topic: topic.name, partition });
    if (slot === this.nextOffset.length) {
      const grown = new Float64Array(2 * slot);
      grown.set(this.nextOffset);
      this.nextOffset = grown;
    }
    if (partition >= topic.slots.length) {
      const grown = new Int32Array(Math.max(2 * topic.slots.length, partition + 1)).fill(NO_SLOT);
      grown.set(topic.slots);
      topic.slots = grown;
    }
    topic.slots[partition] = slot;
    return slot;
  }
}

function makeTopic(handle: number, name: string): Topic {
  return { handle, name, slots: new Int32Array(INITIAL_SLOTS).fill(NO_SLOT) };
}
