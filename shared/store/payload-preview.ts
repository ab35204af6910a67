// Turns the first bytes of a payload into text that is safe to show: UTF-8 as it is, other bytes as hexadecimal.
import type { PayloadPreview } from "../api-schema.ts";
import { printable } from "../text/format.ts";

const MAX_HEX_BYTES = 2048;

/**
 * @param beginning the first bytes; null for an absent payload
 * @param bytes the full size
 * @param keptBytes how many of them the dead letter keeps
 */
export function previewOf(
  beginning: Uint8Array | null,
  bytes: number | null,
  keptBytes = bytes,
): PayloadPreview | null {
  if (beginning === null || bytes === null || keptBytes === null) return null;
  const isCut = beginning.length < bytes;
  const text = asText(beginning, isCut);
  if (text !== undefined) return { form: "text", shown: text, bytes, keptBytes, isCut };
  const shown = beginning.subarray(0, MAX_HEX_BYTES);
  return { form: "hex", shown: hexOf(shown), bytes, keptBytes, isCut: shown.length < bytes };
}

function asText(bytes: Uint8Array, isCut: boolean): string | undefined {
  try {
    // `stream` drops a character that the cut has split.
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes, { stream: isCut });
    return printable(text, "\n\t");
  } catch {
    return undefined;
  }
}

function hexOf(bytes: Uint8Array): string {
  return bytes.toHex().replaceAll(/(..)(?=.)/g, "$1 ");
}
