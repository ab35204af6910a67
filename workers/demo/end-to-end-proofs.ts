// Proves that what the broker acknowledged is what its log holds and what the database consumed.
import type { Invariant } from "../../shared/store/check/report.ts";
import { count } from "../../shared/text/format.ts";

/** Counted at the end by independent parties: the producer, the broker and the database. */
export interface EndToEndFigures {
  /** Records that the broker acknowledged to the producer. */
  readonly acknowledged: number;
  /** Records that failed, or were neither acknowledged nor failed. */
  readonly undelivered: number;
  /** Records that the broker's partitions hold. */
  readonly inLog: number;
  /** Records whose effects are committed. */
  readonly consumed: number;
  readonly duplicates: number;
  readonly deadLettered: number;
  /** Acknowledged records that were injected as invalid. */
  readonly invalid: number;
  /** Acknowledged records that were injected as repeated events. */
  readonly repeated: number;
}

/** The proofs between the producer and the database. `check` proves the contents of the database. */
export function proveEndToEnd(figures: EndToEndFigures): Invariant[] {
  const { acknowledged, undelivered, inLog, consumed, duplicates, deadLettered, invalid, repeated } = figures;
  const lost = undelivered === 0 ? "" : `; ${count(undelivered)} were not acknowledged`;
  return [
    {
      name: "acknowledged_is_consumed",
      ok: acknowledged === consumed && acknowledged === inLog && undelivered === 0,
      detail: `${count(acknowledged)} records acknowledged by the broker, ${count(inLog)} in its log, ${count(consumed)} consumed${lost}`,
    },
    {
      name: "injected_faults_found",
      ok: invalid === deadLettered && repeated === duplicates,
      detail: `${count(invalid)} invalid records injected, ${count(deadLettered)} dead letters; ${count(repeated)} repeated events injected, ${count(duplicates)} duplicates`,
    },
  ];
}
