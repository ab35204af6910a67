// Writes a dead letter as a JSON object, bytes as text where they are UTF-8 and as base64 where not.

import { isUtf8 } from "node:buffer";
import type { Letter } from "../../shared/store/dead-letters/letter-pages.ts";
import { formatLetterId } from "./letter-id.ts";

/** `headers` are [name, base64 of the value or null]; of what is not kept whole, `…_bytes` is the true length. */
export function letterJson(letter: Letter): Record<string, unknown> {
  const { topic, topicId, partition, reading, offset, stage, reason, error, state, attempts } = letter;
  return {
    id: formatLetterId(letter),
    topic,
    topic_id: topicId,
    partition,
    reading,
    offset,
    first_seen_at: letter.firstSeenAt,
    stage,
    reason,
    error,
    state,
    attempts,
    changed_at: letter.changedAt,
    attempt_error: letter.attemptError,
    event_id: letter.eventId,
    discard_reason: letter.discardReason,
    ...bytesJson("value", letter.value),
    ...bytesJson("key", letter.key),
    ...bytesJson("mended_value", letter.mendedValue),
    headers: letter.headers === null ? null : (JSON.parse(letter.headers.toString()) as unknown),
    value_bytes: letter.valueBytes ?? letter.value?.length ?? null,
    key_bytes: letter.keyBytes ?? letter.key?.length ?? null,
    headers_bytes: letter.headersBytes,
    value_sha256: letter.valueSha256,
  };
}

function bytesJson(name: string, bytes: Buffer | null): Record<string, string | null> {
  if (bytes === null) return { [name]: null };
  return isUtf8(bytes) ? { [name]: bytes.toString() } : { [`${name}_base64`]: bytes.toString("base64") };
}
