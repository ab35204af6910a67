// Models the coordinator of a consumer group: who owns which partition, and the rebalances between owners.

import type { TopicPartition } from "../../../shared/event.ts";
import type { Scheduler, Timer } from "../postgres/scheduler.ts";
import type { KafkaCluster } from "./kafka-cluster.ts";

/** A change of ownership that a member is told. It is answered once. */
export interface Rebalance {
  readonly kind: "assign" | "revoke";
  readonly partitions: readonly TopicPartition[];
}

/** A member as the coordinator knows it. */
export interface GroupMember {
  readonly name: string;
  /** The coordinator gives or takes partitions. */
  onRebalance(rebalance: Rebalance): void;
  /** The group goes on without the member, which finds out at its next heartbeat. */
  onEvicted(): void;
}

interface Membership {
  readonly member: GroupMember;
  readonly owned: Set<string>;
  unanswered: Rebalance | undefined;
  deadline: Timer | undefined;
}

export interface GroupOptions {
  /**
   * - `classic`: cooperative-sticky; nothing is assigned before all that move were given up, and each member is told
   *   of each rebalance
   * - `consumer`: KIP-848; each partition moves as soon as it is given up
   */
  readonly protocol: "classic" | "consumer";
  /** How long an answer may take before the member is evicted. */
  readonly rebalanceTimeoutMs: number;
}

export class GroupCoordinator {
  readonly #time: Scheduler;
  readonly #cluster: KafkaCluster;
  readonly #options: GroupOptions;
  readonly #members = new Map<GroupMember, Membership>();
  #isPlanned = false;
  /** Classic: members that are still to be told of the rebalance. */
  #untold = new Set<GroupMember>();

  constructor(time: Scheduler, cluster: KafkaCluster, options: GroupOptions) {
    this.#time = time;
    this.#cluster = cluster;
    this.#options = options;
    cluster.onPartitions(() => this.#plan(true));
  }

  has(member: GroupMember): boolean {
    return this.#members.has(member);
  }

  /** True while nothing moves. */
  get isStable(): boolean {
    return (
      !this.#isPlanned && [...this.#members.values()].every(({ unanswered }) => unanswered === undefined)
    );
  }

  join(member: GroupMember): void {
    if (this.#members.has(member)) return;
    this.#members.set(member, { member, owned: new Set(), unanswered: undefined, deadline: undefined });
    this.#plan(true);
  }

  /** The member has given up its partitions and goes. */
  leave(member: GroupMember): void {
    const membership = this.#members.get(member);
    membership?.deadline?.cancel();
    if (this.#members.delete(member)) this.#plan(true);
  }

  /** The session of the member has ended: its partitions go to others at once. */
  evict(member: GroupMember): void {
    if (!this.#members.has(member)) return;
    this.leave(member);
    member.onEvicted();
  }

  /** Takes a member's answer. One that was evicted meanwhile answers in vain. */
  answered(member: GroupMember, rebalance: Rebalance): void {
    const membership = this.#members.get(member);
    if (membership?.unanswered !== rebalance) return;
    membership.unanswered = undefined;
    membership.deadline?.cancel();
    if (rebalance.kind === "revoke") {
      for (const { topic, partition } of rebalance.partitions)
        membership.owned.delete(nameOf(topic, partition));
    }
    this.#plan(false);
  }

  #plan(isForAll: boolean): void {
    if (isForAll) for (const member of this.#members.keys()) this.#untold.add(member);
    if (this.#isPlanned) return;
    this.#isPlanned = true;
    // Members take part at their next heartbeat.
    this.#time.after(5 + this.#time.random() * 300, () => {
      this.#isPlanned = false;
      this.#reconcile();
    });
  }

  #reconcile(): void {
    const wanted = this.#target();
    let isGivingUp = false;
    for (const membership of this.#members.values()) {
      const surplus = [...membership.owned].filter((name) => wanted.get(name) !== membership);
      if (surplus.length > 0) {
        isGivingUp = true;
        this.#tell(membership, { kind: "revoke", partitions: surplus.map(partitionOf) });
      }
      isGivingUp ||= membership.unanswered?.kind === "revoke";
    }
    if (isGivingUp && this.#options.protocol === "classic") return;
    const owned = new Set([...this.#members.values()].flatMap((each) => [...each.owned]));
    for (const membership of this.#members.values()) {
      if (membership.unanswered !== undefined) continue;
      const given = [...wanted].filter(([name, owner]) => owner === membership && !owned.has(name));
      const isTold = this.#options.protocol === "classic" && this.#untold.delete(membership.member);
      if (given.length === 0 && !isTold) continue;
      for (const [name] of given) membership.owned.add(name);
      this.#tell(membership, { kind: "assign", partitions: given.map(([name]) => partitionOf(name)) });
    }
  }

  /** Tells a member that has answered all before. */
  #tell(membership: Membership, rebalance: Rebalance): void {
    if (membership.unanswered !== undefined) return;
    membership.unanswered = rebalance;
    membership.deadline = this.#time.after(this.#options.rebalanceTimeoutMs, () =>
      this.evict(membership.member),
    );
    membership.member.onRebalance(rebalance);
  }

  /** The owner that each partition should have: as few as possible move, and all members have about as many. */
  #target(): Map<string, Membership> {
    const members = [...this.#members.values()];
    const target = new Map<string, Membership>();
    if (members.length === 0) return target;
    const names = this.#cluster.logs().map(({ topic, partition }) => nameOf(topic, partition));
    const existing = new Set(names);
    const least = Math.floor(names.length / members.length);
    let withOneMore = names.length % members.length;
    const counts = new Map<Membership, number>();
    for (const membership of members.toSorted((a, b) => b.owned.size - a.owned.size)) {
      const kept = [...membership.owned].filter((name) => existing.has(name));
      const quota = kept.length > least && withOneMore > 0 ? (withOneMore--, least + 1) : least;
      for (const name of kept.slice(0, quota)) target.set(name, membership);
      counts.set(membership, Math.min(kept.length, quota));
    }
    for (const name of names) {
      if (target.has(name)) continue;
      const owner = members.reduce((best, each) => (counts.get(each)! < counts.get(best)! ? each : best));
      target.set(name, owner);
      counts.set(owner, counts.get(owner)! + 1);
    }
    return target;
  }
}

function nameOf(topic: string, partition: number): string {
  return `${topic} ${partition}`;
}

function partitionOf(name: string): TopicPartition {
  const [topic, partition] = name.split(" ");
  return { topic: topic!, partition: Number(partition) };
}
