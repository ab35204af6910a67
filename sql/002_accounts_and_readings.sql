-- Tells offsets that were lost from offsets that never held a record, and lets a partition be read again.

-- `skipped` counted both kinds, which cannot be told apart any more. All of it becomes `deleted`: a gap that looks
-- like a loss can be looked into, a loss that looks like a gap would be hidden.
alter table pipeline_offsets rename column skipped to deleted;
alter table pipeline_offsets
  add column gaps         bigint  not null default 0,
  -- of the last record below next_offset; null where it is not known
  add column leader_epoch integer,
  add column reading      integer not null default 0,
  add column closed_at    timestamptz;

comment on table pipeline_offsets is 'how far each partition is stored, and what became of its records:
next_offset - first_offset = consumed + deleted + gaps, consumed = stored + duplicates + dead_lettered';
comment on column pipeline_offsets.deleted is 'offsets that Kafka deleted before they were read: a loss;
in rows that are older than the column gaps it includes the gaps up to then';
comment on column pipeline_offsets.gaps is 'offsets that held no record: transaction markers, aborted and compacted records';
comment on column pipeline_offsets.reading is 'counts up when records below next_offset have to be read again,
because the log was cut and written anew; the row of the earlier reading is closed and stays as it is';

-- Only the current reading of a partition moves on.
alter table pipeline_offsets
  drop constraint pipeline_offsets_pkey,
  add primary key (topic, topic_id, "partition", reading);
create unique index pipeline_offsets_current_idx on pipeline_offsets (topic, topic_id, "partition")
  where closed_at is null;

-- An offset that is read again may hold another record, and be a dead letter again.
alter table dead_letter_events add column reading integer not null default 0;
alter table dead_letter_events
  drop constraint dead_letter_events_pkey,
  add primary key (topic, topic_id, "partition", reading, "offset");
