// Numbers the partitions of a consumer, so that a record carries one small number (a slot).
import type { TopicPartition } from "../event.ts";

interface Topic {
  readonly name: string;
  /** The slot of each partition seen so far, by partition number. */
  readonly slots: (number | undefined)[];
}

/**
 * Numbers partitions in the order in which they are first seen. A slot is never reused, so a record keeps its meaning
 * when partitions come and go.
 */
export class PartitionTable {
  /** By slot: the least offset of the next record. Records below it were handed over before. */
  readonly nextOffset: number[] = [];
  readonly #partitions: TopicPartition[] = [];
  readonly #byHandle = new Map<number, Topic>();
  readonly #byName = new Map<string, Topic>();
  #lastHandle = 0;
  #lastTopic: Topic = { name: "", slots: [] };

  /** @param handle the topic's address, which must stay valid, and so unique, for as long as this table */
  addTopic(handle: number, name: string): void {
    const topic = { name, slots: [] };
    this.#byHandle.set(handle, topic);
    this.#byName.set(name, topic);
  }

  /** The names of the topics, in the order in which they were added. */
  get topics(): string[] {
    return [...this.#byName.keys()];
  }

  /** The slot of a message's partition. @throws for a topic that was never added */
  slotOf(handle: number, partition: number): number {
    if (handle !== this.#lastHandle) {
      const topic = this.#byHandle.get(handle);
      if (topic === undefined) throw new Error("a record came of a topic that is not subscribed to");
      this.#lastTopic = topic;
      this.#lastHandle = handle;
    }
    return this.#lastTopic.slots[partition] ?? this.#add(this.#lastTopic, partition);
  }

  /** The slot of a partition by its topic's name. @throws for a topic that was never added */
  slot({ topic: name, partition }: TopicPartition): number {
    const topic = this.#byName.get(name);
    if (topic === undefined) throw new Error(`the topic ${name} is not subscribed to`);
    return topic.slots[partition] ?? this.#add(topic, partition);
  }

  topicPartition(slot: number): TopicPartition {
    const found = this.#partitions[slot];
    if (found === undefined) throw new Error(`no partition has the slot ${slot}`);
    return found;
  }

  #add(topic: Topic, partition: number): number {
    const slot = this.#partitions.length;
    this.#partitions.push({ topic: topic.name, partition });
    this.nextOffset.push(0);
    topic.slots[partition] = slot;
    return slot;
  }
}
