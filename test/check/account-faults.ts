// Lists faults in the offsets, their counts and the dead letters.
import { eventText } from "../pipeline/record.ts";
import type { Fault } from "./fault.ts";

/** A valid event as a bytea expression. */
const GOOD_BYTES = `convert_to('${eventText({ event_id: "good" })}', 'UTF8')`;
const LETTER_COLUMNS = "key, value, headers, stage, reason, error, first_seen_at, max_future_skew_seconds";
const COPIED_LETTER = `${LETTER_COLUMNS}
  from dead_letter_events where reason = 'not_utf8'`;

export const OFFSET_FAULTS: readonly Fault[] = [
  {
    what: "an offset is too high",
    sql: "update pipeline_offsets set next_offset = next_offset + 1 where partition = 0",
    breaks: ["offsets_accounted_for"],
  },
  {
    what: "an offset is too low",
    sql: "update pipeline_offsets set next_offset = next_offset - 1 where partition = 0",
    breaks: ["offsets_accounted_for"],
  },
  {
    what: "an offset is below a dead letter",
    sql: "update pipeline_offsets set next_offset = next_offset - 1 where partition = 1",
    breaks: ["offsets_accounted_for", "dead_letters_within_offsets"],
  },
  {
    what: "the first offset is wrong",
    sql: "update pipeline_offsets set first_offset = first_offset + 1 where partition = 0",
    breaks: ["offsets_accounted_for"],
  },
  {
    what: "deleted is wrong",
    sql: "update pipeline_offsets set deleted = deleted + 1 where partition = 0",
    breaks: ["offsets_accounted_for"],
  },
  {
    what: "gaps is wrong",
    sql: "update pipeline_offsets set gaps = gaps - 1 where partition = 0",
    breaks: ["offsets_accounted_for"],
  },
  {
    what: "consumed is wrong",
    sql: "update pipeline_offsets set consumed = consumed + 1 where partition = 0",
    breaks: ["offsets_accounted_for", "records_accounted_for"],
  },
  {
    what: "consumed is wrong, and gaps hides it",
    sql: "update pipeline_offsets set consumed = consumed + 1, gaps = gaps - 1 where partition = 0",
    breaks: ["records_accounted_for"],
  },
  {
    what: "duplicates is wrong",
    sql: "update pipeline_offsets set duplicates = duplicates + 1 where partition = 0",
    breaks: ["records_accounted_for"],
  },
  {
    what: "a duplicate is counted as stored",
    sql: "update pipeline_offsets set duplicates = duplicates - 1, stored = stored + 1 where partition = 0",
    breaks: ["stored_events_kept", "hours_hold_every_event"],
  },
  {
    what: "a dead letter is counted as a duplicate",
    sql: "update pipeline_offsets set duplicates = duplicates + 1, dead_lettered = dead_lettered - 1 where partition = 0",
    breaks: ["dead_letters_kept"],
  },
  {
    what: "a negative count that adds up",
    sql: "update pipeline_offsets set gaps = -1, consumed = 1, duplicates = 1 where partition = 2",
    breaks: ["counters_not_negative"],
  },
  {
    what: "no reading of a partition is the current one",
    sql: "update pipeline_offsets set closed_at = now() where partition = 2",
    breaks: ["one_current_reading"],
  },
  {
    what: "the first reading of a partition is lost",
    sql: "update pipeline_offsets set reading = 1 where partition = 2",
    breaks: ["one_current_reading"],
  },
  {
    what: "the next reading of a partition has begun, and the one before is not closed",
    sql: `with closed as (update pipeline_offsets set closed_at = now() where partition = 2)
      insert into pipeline_offsets (topic, topic_id, "partition", reading, first_offset, next_offset, closed_at)
      select topic, topic_id, "partition", 1, 0, 0, now() from pipeline_offsets where partition = 2`,
    breaks: ["one_current_reading"],
  },
  {
    what: "a dead letter belongs to a reading that does not exist",
    sql: "update dead_letter_events set reading = 1 where reason = 'not_utf8'",
    breaks: ["dead_letters_kept", "dead_letters_within_offsets"],
  },
  {
    what: "a partition's row is lost",
    sql: "delete from pipeline_offsets where partition = 1",
    breaks: [
      "stored_events_kept",
      "hours_hold_every_event",
      "dead_letters_kept",
      "dead_letters_within_offsets",
    ],
  },
  {
    what: "a partition belongs to another topic of the same name",
    sql: "update pipeline_offsets set topic_id = 'another' where partition = 1",
    breaks: ["dead_letters_kept", "dead_letters_within_offsets"],
  },
];

export const LETTER_FAULTS: readonly Fault[] = [
  {
    what: "a dead letter claims to be stored",
    sql: "update dead_letter_events set state = 'stored', event_id = 'e1' where reason = 'not_utf8'",
    breaks: ["dead_letters_kept", "dead_letters_rejected_again"],
  },
  {
    what: "a dead letter claims to be discarded",
    sql: "update dead_letter_events set state = 'discarded' where reason = 'not_utf8'",
    breaks: ["dead_letters_kept"],
  },
  {
    what: "a partition counts a replayed letter too many",
    sql: "update pipeline_offsets set replayed = 1 where partition = 2",
    breaks: ["dead_letters_kept"],
  },
  {
    what: "a partition counts a discarded letter too many",
    sql: "update pipeline_offsets set discarded = 1 where partition = 0",
    breaks: ["dead_letters_kept"],
  },
  {
    what: "a dead letter is missing",
    sql: "delete from dead_letter_events where reason = 'not_utf8'",
    breaks: ["dead_letters_kept"],
  },
  {
    what: "one dead letter too many",
    sql: `insert into dead_letter_events (topic, topic_id, partition, "offset", ${LETTER_COLUMNS})
      select topic, topic_id, 0, 4, ${COPIED_LETTER}`,
    breaks: ["dead_letters_kept"],
  },
  {
    what: "a dead letter that is not read yet",
    sql: "update dead_letter_events set \"offset\" = 16 where reason = 'not_utf8'",
    breaks: ["dead_letters_within_offsets"],
  },
  {
    what: "a dead letter from before the first offset",
    sql: "update dead_letter_events set \"offset\" = 1 where partition = 0 and reason = 'tombstone'",
    breaks: ["dead_letters_within_offsets"],
  },
  {
    what: "a dead letter of a partition that was never read",
    sql: `insert into dead_letter_events (topic, topic_id, partition, "offset", ${LETTER_COLUMNS})
      select topic, topic_id, 77, 0, ${COPIED_LETTER}`,
    breaks: ["dead_letters_kept", "dead_letters_within_offsets"],
  },
  ...["not_json", "tombstone", "too_large", "refused_by_database"].map((reason) => ({
    what: `a dead letter (${reason}) that is a valid event`,
    sql: `update dead_letter_events set value = ${GOOD_BYTES} where reason = '${reason}' and partition = 1`,
    breaks: ["dead_letters_rejected_again"],
  })),
  {
    what: "a dead letter that is a large valid event",
    sql: `update dead_letter_events set value = convert_to(rpad(convert_from(${GOOD_BYTES}, 'UTF8'), 200000), 'UTF8')
      where reason = 'not_utf8'`,
    breaks: ["dead_letters_rejected_again"],
  },
  {
    what: "a dead letter's reason is changed",
    sql: "update dead_letter_events set reason = 'not_json' where reason = 'not_utf8'",
    breaks: ["dead_letters_rejected_again"],
  },
  {
    what: "a dead letter's reason does not exist",
    sql: "update dead_letter_events set reason = 'disliked' where reason = 'not_utf8'",
    breaks: ["dead_letters_rejected_again"],
  },
  {
    what: "a dead letter claims to be refused by the database",
    sql: "update dead_letter_events set reason = 'refused_by_database' where reason = 'not_utf8'",
    breaks: ["dead_letters_rejected_again"],
  },
  {
    what: "a refusal by the database has another reason",
    sql: "update dead_letter_events set reason = 'wrong_type' where reason = 'refused_by_database'",
    breaks: ["dead_letters_rejected_again"],
  },
  {
    what: "a dead letter's value is lost",
    sql: "update dead_letter_events set value = null where reason = 'too_large'",
    breaks: ["dead_letters_rejected_again"],
  },
  {
    what: "an event from the future that was seen a millisecond later",
    sql: "update dead_letter_events set first_seen_at = first_seen_at + interval '1 millisecond' where reason = 'future_timestamp'",
    breaks: ["dead_letters_rejected_again"],
  },
  {
    what: "an event from the future, with a wider limit",
    sql: "update dead_letter_events set max_future_skew_seconds = 86400.001 where reason = 'future_timestamp'",
    breaks: ["dead_letters_rejected_again"],
  },
];
