// Counts what a producer sent and what became of it. A record counts as produced only when it is acknowledged.
import type { DeliveryFailure } from "../event.ts";

/** The figures since the last `take`. */
export interface DeliveryFigures {
  /** Acknowledged records by event type. */
  readonly acknowledged: ReadonlyMap<string, number>;
  /** Acknowledged records by the size of their value in bytes. */
  readonly sizes: ReadonlyMap<number, number>;
  readonly failed: number;
}

/** Event types counted separately; real events may have any number of types. */
const MAX_TYPES = 512;
const UNKNOWN_TYPE = "unknown";

/**
 * The ledger of one producer. Type and size of a record travel as the opaque number of its message and come back
 * with its delivery report, so the ledger keeps nothing per message.
 */
export class DeliveryLedger {
  /** Records that the client took into its queue. */
  sent = 0;
  /** Records that the broker has acknowledged. */
  acknowledged = 0;
  /** Records that were refused, by the client at once or by the broker later. */
  failed = 0;
  /** Those of `failed` that the client had taken into its queue. */
  failedAfterSending = 0;
  /** The reason of the last failure. */
  lastFailure: { readonly code: number; readonly message: string } | undefined;

  readonly #types: string[] = [UNKNOWN_TYPE];
  readonly #typeIndex = new Map<string, number>([[UNKNOWN_TYPE, 0]]);
  #byType = new Map<number, number>();
  #sizes = new Map<number, number>();
  #newlyFailed = 0;
  /** The state of `measureUnacknowledgedMs` at its last call. */
  #acknowledgedBefore = 0;
  #failedBefore = 0;
  #unacknowledgedSinceMs: number | undefined;

  /** Records sent that are neither acknowledged nor failed yet. */
  get outstanding(): number {
    return this.sent - this.acknowledged - this.failedAfterSending;
  }

  /**
   * Measures how long nothing has been acknowledged although records were sent; 0 while nothing waits for an answer.
   * The time runs from call to call, so call it at least once a second. Only an acknowledgement ends the time: failed
   * deliveries do not.
   *
   * @param nowMs monotonic
   */
  measureUnacknowledgedMs(nowMs: number): number {
    if (this.acknowledged > this.#acknowledgedBefore) {
      this.#acknowledgedBefore = this.acknowledged;
      this.#failedBefore = this.failedAfterSending;
      this.#unacknowledgedSinceMs = undefined;
    }
    const isAnswered = this.outstanding === 0 && this.failedAfterSending === this.#failedBefore;
    if (isAnswered) this.#unacknowledgedSinceMs = undefined;
    else this.#unacknowledgedSinceMs ??= nowMs;
    return nowMs - (this.#unacknowledgedSinceMs ?? nowMs);
  }

  /** The opaque number for a record. @param bytes size of its value */
  opaque(eventType: string | undefined, bytes: number): number {
    return bytes * MAX_TYPES + this.#indexOf(eventType ?? UNKNOWN_TYPE);
  }

  /** The client reports that a record was acknowledged. */
  onDelivered(opaque: number): void {
    this.acknowledged++;
    const type = opaque % MAX_TYPES;
    this.#byType.set(type, (this.#byType.get(type) ?? 0) + 1);
    const size = (opaque - type) / MAX_TYPES;
    this.#sizes.set(size, (this.#sizes.get(size) ?? 0) + 1);
  }

  /** The client reports that records it had taken were not delivered. */
  onFailed({ code, message, count }: DeliveryFailure): void {
    this.failedAfterSending += count;
    this.#fail(code, message, count);
  }

  /** The client refused to take a record. */
  onRefused(error: unknown): void {
    const code = error instanceof Error && "code" in error && typeof error.code === "number" ? error.code : 0;
    this.#fail(code, error instanceof Error ? error.message : String(error), 1);
  }

  /** The figures since the last call. */
  take(): DeliveryFigures {
    const acknowledged = new Map<string, number>();
    for (const [type, count] of this.#byType) acknowledged.set(this.#types[type] ?? UNKNOWN_TYPE, count);
    const figures = { acknowledged, sizes: this.#sizes, failed: this.#newlyFailed };
    this.#byType = new Map();
    this.#sizes = new Map();
    this.#newlyFailed = 0;
    return figures;
  }

  #fail(code: number, message: string, count: number): void {
    this.failed += count;
    this.#newlyFailed += count;
    this.lastFailure = { code, message };
  }

  #indexOf(eventType: string): number {
    const known = this.#typeIndex.get(eventType);
    if (known !== undefined) return known;
    if (this.#types.length >= MAX_TYPES) return 0;
    this.#typeIndex.set(eventType, this.#types.length);
    return this.#types.push(eventType) - 1;
  }
}
