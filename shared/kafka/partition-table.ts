// Topic handle and partition of a message in; a small number (a slot) for that partition out, and back.
import type { TopicPartition } from "../event.ts";

interface Topic {
  readonly name: string;
  /** The slot of each partition seen so far, by partition number. */
  readonly slots: (number | undefined)[];
}

/**
 * Numbers partitions in the order in which they are first seen. A slot is never given away again, so a
 * record keeps its meaning however partitions come and go.
 */
export class PartitionTable {
  /** By slot: the offset that the next record has at least. What lies below was handed over before. */
  readonly nextOffset: number[] = [];
  readonly #partitions: TopicPartition[] = [];
  readonly #byHandle = new Map<number, Topic>();
  readonly #byName = new Map<string, Topic>();
  #lastHandle = 0;
  #lastTopic: Topic = { name: "", slots: [] };

  /** Makes a topic known under its handle, which must stay valid (and thus its own) as long as this table. */
  addTopic(handle: number, name: string): void {
    const topic = { name, slots: [] };
    this.#byHandle.set(handle, topic);
    this.#byName.set(name, topic);
  }

  /** The slot of a message's partition. @throws for a topic that was never added */
  slotOf(handle: number, partition: number): number {
    if (handle !== this.#lastHandle) {
      const topic = this.#byHandle.get(handle);
      if (topic === undefined) throw new Error("a record of a topic that nobody subscribed to");
      this.#lastTopic = topic;
      this.#lastHandle = handle;
    }
    return this.#lastTopic.slots[partition] ?? this.#add(this.#lastTopic, partition);
  }

  /** The slot of a partition by its topic's name. @throws for a topic that was never added */
  slot({ topic: name, partition }: TopicPartition): number {
    const topic = this.#byName.get(name);
    if (topic === undefined) throw new Error(`nobody subscribed to the topic ${name}`);
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
