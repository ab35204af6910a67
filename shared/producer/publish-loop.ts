// Hands the records of a source to a Kafka producer at a limited rate, without losing any.
import { type Clock, systemClock } from "../runtime/clock.ts";
import type { StopSignal } from "../runtime/stop-signal.ts";
import type { DeliveryLedger } from "./delivery-ledger.ts";
import type { RateLimiter } from "./rate-limiter.ts";
import type { OutgoingRecord, RecordSource } from "./record-source.ts";

/** What the loop needs of a Kafka producer. */
export interface RecordSink {
  /** False: the queue is full and the record was not taken. @throws when it refuses this record */
  send(key: Uint8Array | undefined, value: Uint8Array, opaque: number): boolean;
  sendText(key: string, value: string, opaque: number): boolean;
  /** Handles the delivery reports that have arrived. */
  poll(): void;
}

export interface PublishLoopOptions {
  readonly source: RecordSource;
  readonly sink: RecordSink;
  readonly ledger: DeliveryLedger;
  readonly limiter: RateLimiter;
  readonly stop: StopSignal;
  /** True if a refusal concerns one record only (too large): it is counted, and the next record follows. */
  readonly isRecordAtFault: (error: unknown) => boolean;
  /** False: wait, because the consumer is too far behind. */
  readonly gate?: () => boolean;
  readonly clock?: Clock;
}

/** Records between two turns of the event loop, for delivery reports, the stop signal and HTTP. */
const SLICE_RECORDS = 500;
/** A steady rate goes out in bursts this far apart: a shorter sleep costs more than it smooths. */
const TICK_MS = 4;
const FULL_QUEUE_WAIT_MS = 2;
const GATE_WAIT_MS = 5;

/**
 * Publishes until the source ends or a stop is requested. A full queue slows the source down; no record is lost.
 * @returns how it ended
 * @throws what the sink throws unless only one record is at fault, and what the source throws
 */
export async function publishLoop(options: PublishLoopOptions): Promise<"source_ended" | "stopped"> {
  const { source, sink, stop, gate, limiter, clock = systemClock } = options;
  let held: OutgoingRecord | undefined;
  while (!stop.isRequested) {
    if (gate !== undefined && !gate()) {
      await clock.sleep(GATE_WAIT_MS);
      continue;
    }
    const { state, record } = sendSlice(options, held, clock.monotonicMs());
    held = record;
    sink.poll();
    switch (state) {
      case "slice_done":
        await clock.sleep(0);
        break;
      case "queue_full":
        await clock.sleep(FULL_QUEUE_WAIT_MS);
        break;
      case "paced":
        await stop.orStopped(clock.sleep(Math.max(TICK_MS, limiter.waitMs(clock.monotonicMs()))));
        break;
      case "source_empty":
        // Undefined: a stop was requested, which ends the loop.
        if ((await stop.orStopped(source.more())) === false) return "source_ended";
        break;
    }
  }
  return "stopped";
}

interface SliceEnd {
  readonly state: "slice_done" | "queue_full" | "paced" | "source_empty";
  /** Taken from the source, but not by the sink yet. */
  readonly record?: OutgoingRecord;
}

function sendSlice(options: PublishLoopOptions, held: OutgoingRecord | undefined, nowMs: number): SliceEnd {
  const { source, limiter } = options;
  let record = held;
  for (let sent = 0; sent < SLICE_RECORDS; sent++) {
    if (record === undefined) {
      if (!source.ready) return { state: "source_empty" };
      // The event is made only now, so that its timestamp is the time of sending.
      if (!limiter.take(nowMs)) return { state: "paced" };
      record = source.next();
    }
    if (!trySend(options, record)) return { state: "queue_full", record };
    record = undefined;
  }
  return { state: "slice_done" };
}

/** False if the queue was full. */
function trySend(options: PublishLoopOptions, { key, value, eventType }: OutgoingRecord): boolean {
  const { sink, ledger, isRecordAtFault } = options;
  try {
    const taken =
      typeof value === "string"
        ? sink.sendText(key ?? "", value, ledger.opaque(eventType, value.length))
        : sink.send(keyBytes(key), value, ledger.opaque(eventType, value.length));
    if (taken) ledger.sent++;
    return taken;
  } catch (error) {
    ledger.onRefused(error);
    if (!isRecordAtFault(error)) throw error;
    return true;
  }
}

function keyBytes(key: string | undefined): Uint8Array | undefined {
  return key === undefined ? undefined : Buffer.from(key);
}
