// Executes the insert into dead_letter_events.

import { bytesValues, numbers, numberValues, texts } from "../array-values.ts";
import { uniqueViolation } from "../server-error.ts";
import type { Statement } from "../statement.ts";
import { keyOf } from "../tables.ts";

export const insertDeadLettersStatement: Statement = {
  name: "insert dead letters",
  text: `
    insert into dead_letter_events
      (topic, topic_id, partition, reading, "offset", key, value, headers, key_bytes, value_bytes, value_sha256, headers_bytes,
        stage, reason, error, first_seen_at, max_future_skew_seconds)
    select d.*, $16::timestamptz, $17::float8
    from unnest($1::text[], $2::text[], $3::int[], $4::int[], $5::bigint[], $6::bytea[], $7::bytea[], $8::bytea[],
        $9::bigint[], $10::bigint[], $11::bytea[], $12::bigint[], $13::text[], $14::text[], $15::text[])
      as d`,
  table: "dead_letter_events",
  writes: true,
  async run({ transaction, tables }, parameters) {
    const text = (at: number) => texts(parameters[at] as string);
    const bytes = (at: number) => bytesValues(parameters[at] as string);
    const [topics, topicIds, stages, reasons, errors] = [text(0), text(1), text(12), text(13), text(14)];
    const partitions = numbers(parameters[2] as string);
    const readings = numbers(parameters[3] as string);
    const offsets = numbers(parameters[4] as string);
    const [keys, values, headers] = [bytes(5), bytes(6), bytes(7)];
    const [keyBytes, valueBytes, headersBytes] = [8, 9, 11].map((at) =>
      numberValues(parameters[at] as string),
    );
    const valueSha256 = bytes(10);
    for (const [index, topic] of topics.entries()) {
      const row = {
        topic,
        topicId: topicIds[index]!,
        partition: partitions[index]!,
        reading: readings[index]!,
        offset: offsets[index]!,
        key: keys[index],
        value: values[index],
        headers: headers[index],
        keyBytes: keyBytes![index],
        valueBytes: valueBytes![index],
        valueSha256: valueSha256[index],
        headersBytes: headersBytes![index],
        stage: stages[index]!,
        reason: reasons[index]!,
        error: errors[index]!,
        firstSeenAt: parameters[15] as string,
        maxFutureSkewSeconds: Number(parameters[16]),
      };
      const key = keyOf(row.topic, row.topicId, row.partition, row.reading, row.offset);
      const isNew = await transaction.insert(tables.deadLetters, key, row);
      if (!isNew) throw uniqueViolation("dead_letter_events_pkey");
    }
    return { rows: [], count: topics.length };
  },
};
