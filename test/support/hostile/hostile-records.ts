// Makes hostile records, all kinds in turn.
import type { RawRecord } from "../raw-producer.ts";
import type { HostileKind } from "./hostile-kind.ts";
import { HOSTILE_KINDS } from "./hostile-kinds.ts";

/** A record with a larger value, key and headers together is large. */
export const LARGE_RECORD_BYTES = 10_000;

export interface HostileRecord {
  readonly kind: HostileKind;
  /** What it was made with: kinds that repeat an id have that of the record before them. */
  readonly id: string;
  readonly record: RawRecord;
}

/**
 * Records without end; the first have each kind once.
 * @param largeOfEach the most large records of one kind
 */
export function* hostileRecords(largeOfEach = Number.POSITIVE_INFINITY): Generator<HostileRecord> {
  const left = new Map<HostileKind, number>();
  let id = "";
  for (let made = 0; ; ) {
    for (const kind of HOSTILE_KINDS) {
      if (left.get(kind) === 0) continue;
      if (kind.repeatsId !== true) id = `hostile_${made}`;
      made++;
      const record = kind.record(id);
      if (sizeOf(record) > LARGE_RECORD_BYTES) left.set(kind, (left.get(kind) ?? largeOfEach) - 1);
      yield { kind, id, record };
    }
  }
}

/** Bytes of a record's key, value and headers. */
export function sizeOf({ key, value, headers = [] }: RawRecord): number {
  const inHeaders = headers.reduce(
    (sum, header) => sum + header.name.length + (header.value?.length ?? 0),
    0,
  );
  return (key?.length ?? 0) + (value?.length ?? 0) + inHeaders;
}
