// Records of a source in, handed to a Kafka producer at a pace, none lost: the loop of every producer here.
import { type Clock, systemClock } from "../runtime/clock.ts";
import type { StopSignal } from "../runtime/stop-signal.ts";
import type { DeliveryLedger } from "./delivery-ledger.ts";
import type { Pace } from "./rate-limiter.ts";
import type { OutgoingRecord, RecordSource } from "./record-source.ts";

/** The part of a Kafka producer that the loop needs. */
export interface RecordSink {
  /** False = its queue is full and nothing was taken. @throws when it refuses this record */
  send(key: Uint8Array | undefined, value: Uint8Array, opaque: number): boolean;
  sendText(key: string, value: string, opaque: number): boolean;
  /** Takes the delivery reports that have come. */
  poll(): void;
}

export interface PublishOptions {
  readonly source: RecordSource;
  readonly sink: RecordSink;
  readonly deliveries: DeliveryLedger;
  readonly pace: Pace;
  readonly stop: StopSignal;
  /** Whether a refusal is about the record alone (too large): it is then counted, and the next one goes on. */
  readonly isRecordAtFault: (error: unknown) => boolean;
  /** False = wait, the consumer is too far behind. */
  readonly gate?: () => boolean;
  readonly clock?: Clock;
}

/** Records between two looks at delivery reports, the stop signal and whatever else the thread serves. */
const SLICE_RECORDS = 500;
/** A steady rate goes out in bursts this far apart: a shorter sleep costs more than it smooths. */
const TICK_MS = 4;
const FULL_QUEUE_WAIT_MS = 2;
const GATE_WAIT_MS = 5;

/**
 * Publishes until the source ends or a stop is requested. A full queue slows the source down and loses
 * nothing.
 * @returns how it ended
 * @throws what the sink throws when it refuses more than a single record, and what the source throws
 */
export async function publish(options: PublishOptions): Promise<"source_ended" | "stopped"> {
  const { source, sink, stop, gate, pace, clock = systemClock } = options;
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
        await stop.orStopped(clock.sleep(Math.max(TICK_MS, pace.waitMs(clock.monotonicMs()))));
        break;
      case "source_empty":
        // Undefined = stopped meanwhile; the loop's condition sees it.
        if ((await stop.orStopped(source.more())) === false) return "source_ended";
        break;
    }
  }
  return "stopped";
}

interface SliceEnd {
  readonly state: "slice_done" | "queue_full" | "paced" | "source_empty";
  /** Drawn from the source and not taken by the sink yet. */
  readonly record?: OutgoingRecord;
}

function sendSlice(options: PublishOptions, held: OutgoingRecord | undefined, nowMs: number): SliceEnd {
  const { source, pace } = options;
  let record = held;
  for (let sent = 0; sent < SLICE_RECORDS; sent++) {
    if (record === undefined) {
      if (!source.ready) return { state: "source_empty" };
      // Only now is the event made, so that its timestamp is the moment it is sent.
      if (!pace.take(nowMs)) return { state: "paced" };
      record = source.next();
    }
    if (!trySend(options, record)) return { state: "queue_full", record };
    record = undefined;
  }
  return { state: "slice_done" };
}

/** False when the queue was full. */
function trySend(options: PublishOptions, { key, value, eventType }: OutgoingRecord): boolean {
  const { sink, deliveries, isRecordAtFault } = options;
  try {
    const taken =
      typeof value === "string"
        ? sink.sendText(key ?? "", value, deliveries.opaque(eventType, value.length))
        : sink.send(keyBytes(key), value, deliveries.opaque(eventType, value.length));
    if (taken) deliveries.sent++;
    return taken;
  } catch (error) {
    deliveries.onRefused(error);
    if (!isRecordAtFault(error)) throw error;
    return true;
  }
}

function keyBytes(key: string | undefined): Uint8Array | undefined {
  return key === undefined ? undefined : Buffer.from(key);
}
