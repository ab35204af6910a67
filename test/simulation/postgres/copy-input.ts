// Reads the input of COPY raw_events (FORMAT binary), as event-rows.ts writes it.

import { formatTimestamp } from "../../../shared/pipeline/timestamp.ts";
import type { RawEventRow } from "./tables.ts";

/** The signature, the flags and the length of the header's extension. */
const HEADER_BYTES = 19;
const EPOCH_MICROS = 946_684_800_000_000n;

/** The rows of one COPY, in their order. */
export function readCopyInput(input: Uint8Array): RawEventRow[] {
  const bytes = Buffer.from(input.buffer, input.byteOffset, input.length);
  const rows: RawEventRow[] = [];
  let at = HEADER_BYTES;
  const field = (): Buffer | undefined => {
    const length = bytes.readInt32BE(at);
    at += 4;
    if (length < 0) return undefined;
    at += length;
    return bytes.subarray(at - length, at);
  };
  for (;;) {
    const fields = bytes.readInt16BE(at);
    at += 2;
    if (fields === -1) return rows;
    rows.push({
      eventId: text(field()),
      userId: text(field()),
      eventType: text(field()),
      // The first byte is the version of jsonb's format.
      eventDataText: text(field()?.subarray(1)),
      durationSeconds: field()?.readDoubleBE(),
      timestamp: timestamp(field()),
      processedAt: timestamp(field()),
    });
  }
}

function text(field: Buffer | undefined): string {
  if (field === undefined) throw new Error("COPY sends NULL for a column that is not null");
  return field.toString();
}

function timestamp(field: Buffer | undefined): string {
  if (field === undefined) throw new Error("COPY sends NULL for a timestamp");
  const micros = field.readBigInt64BE() + EPOCH_MICROS;
  return formatTimestamp(Number(micros / 1000n), Number(micros % 1000n));
}
