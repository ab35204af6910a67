// Ties a batch to the accounts of its partitions, in the transaction that stores its events.

import type { Batch } from "../pipeline/batch.ts";
import type { Span } from "../pipeline/span.ts";
import { insertDeadLetters } from "./dead-letters.ts";
import { advance, fence, type StoredOffset } from "./offsets.ts";
import type { ExpectedState, PipelineState } from "./pipeline-state.ts";
import type { StoreSession, Transaction } from "./session.ts";

/** What a transaction writes beside the events of a batch: where its records come from, and what became of them. */
export interface BatchLedger {
  /**
   * Runs first: locks the accounts of the partitions, and refuses a batch that they no longer fit.
   * @returns the state of the pipeline @throws FenceFailed
   */
  open(tx: Transaction, spans: readonly Span[]): Promise<PipelineState>;
  /** Writes what became of single records, before the hours are locked. @param stored the rows of the new events */
  record(tx: Transaction, batch: Batch, stored: Int32Array): Promise<void>;
  /**
   * Runs last: adds the spans, whose counts are complete, to the accounts.
   * @throws FenceFailed, StateChanged where the state of the pipeline is not as expected
   */
  close(tx: Transaction, spans: readonly Span[], expected: ExpectedState): Promise<void>;
  /** The COMMIT was answered. */
  committed(spans: readonly Span[]): void;
}

/** The ledger of records from Kafka: a batch moves the stored offsets on, and its rejected records become dead letters. */
export class OffsetLedger implements BatchLedger {
  readonly #session: StoreSession;
  #previous: readonly StoredOffset[] = [];

  constructor(session: StoreSession) {
    this.#session = session;
  }

  async open(tx: Transaction, spans: readonly Span[]): Promise<PipelineState> {
    return await fence(tx, this.#session, spans, this.#previous);
  }

  async record(tx: Transaction, batch: Batch): Promise<void> {
    await insertDeadLetters(tx, batch.rejected.deadLetters(), batch.clock);
  }

  async close(tx: Transaction, spans: readonly Span[], expected: ExpectedState): Promise<void> {
    await advance(tx, spans, expected);
  }

  committed(spans: readonly Span[]): void {
    this.#previous = spans.map(({ topic, topicId, partition, reading, to }) => ({
      topic,
      topicId,
      partition,
      reading,
      nextOffset: to,
    }));
  }
}
