// Executes the insert into dead_letter_events.

import { bytesValues, numbers, texts } from "../array-values.ts";
import { uniqueViolation } from "../server-error.ts";
import type { Statement } from "../statement.ts";
import { keyOf } from "../tables.ts";

export const insertDeadLettersStatement: Statement = {
  name: "insert dead letters",
  text: `
    insert into dead_letter_events
      (topic, topic_id, partition, reading, "offset", key, value, headers, stage, reason, error, first_seen_at, max_future_skew_seconds)
    select d.*, $12::timestamptz, $13::float8
    from unnest($1::text[], $2::text[], $3::int[], $4::int[], $5::bigint[], $6::bytea[], $7::bytea[], $8::bytea[],
        $9::text[], $10::text[], $11::text[])
      as d`,
  table: "dead_letter_events",
  writes: true,
  async run({ transaction, tables }, parameters) {
    const text = (at: number) => texts(parameters[at] as string);
    const bytes = (at: number) => bytesValues(parameters[at] as string);
    const [topics, topicIds, stages, reasons, errors] = [text(0), text(1), text(8), text(9), text(10)];
    const partitions = numbers(parameters[2] as string);
    const readings = numbers(parameters[3] as string);
    const offsets = numbers(parameters[4] as string);
    const [keys, values, headers] = [bytes(5), bytes(6), bytes(7)];
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
        stage: stages[index]!,
        reason: reasons[index]!,
        error: errors[index]!,
        firstSeenAt: parameters[11] as string,
        maxFutureSkewSeconds: Number(parameters[12]),
      };
      const key = keyOf(row.topic, row.topicId, row.partition, row.reading, row.offset);
      const isNew = await transaction.insert(tables.deadLetters, key, row);
      if (!isNew) throw uniqueViolation("dead_letter_events_pkey");
    }
    return { rows: [], count: topics.length };
  },
};
