// What the broker acknowledged, what its log holds and what the database says in; proofs, true or false, out.
import type { Invariant } from "../../shared/store/check/report.ts";
import { count } from "../../shared/text/format.ts";

/** Counted at the end by parties that know nothing of each other. */
export interface LedgerFigures {
  /** Records that the producer's client was told are stored. */
  readonly acknowledged: number;
  /** Records that it was told are not, or never heard of again. */
  readonly undelivered: number;
  /** Records that the broker's partitions hold. */
  readonly inLog: number;
  /** Records whose effects are committed. */
  readonly consumed: number;
  readonly duplicates: number;
  readonly deadLettered: number;
  /** Acknowledged records that the demo had broken on purpose. */
  readonly broken: number;
  /** Acknowledged records in which it had repeated an event_id on purpose. */
  readonly repeated: number;
}

/** Between the producer and the database; what is within the database is `check`'s to prove. */
export function proveLedger(figures: LedgerFigures): Invariant[] {
  const { acknowledged, undelivered, inLog, consumed, duplicates, deadLettered, broken, repeated } = figures;
  const lost = undelivered === 0 ? "" : `; ${count(undelivered)} were not acknowledged`;
  return [
    {
      name: "acknowledged_is_consumed",
      ok: acknowledged === consumed && acknowledged === inLog && undelivered === 0,
      detail: `${count(acknowledged)} records acknowledged by the broker, ${count(inLog)} in its log, ${count(consumed)} consumed${lost}`,
    },
    {
      name: "planted_is_found",
      ok: broken === deadLettered && repeated === duplicates,
      detail: `${count(broken)} broken on purpose, ${count(deadLettered)} dead letters; ${count(repeated)} repeated on purpose, ${count(duplicates)} duplicates`,
    },
  ];
}
