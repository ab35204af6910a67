-- The tables of the pipeline. Every text key is COLLATE "C": equal bytes are equal keys, and an index on
-- them costs half of one in a language's order.

-- One row an event: its event_id's first arrival. The unique index is nearly half of the cost of an insert;
-- add others only for a reader that needs them.
create table raw_events (
  event_id         text collate "C" primary key,
  user_id          text collate "C" not null,
  event_type       text collate "C" not null,
  event_data       jsonb            not null,
  -- whole milliseconds, as seconds; null where the event carries none
  duration_seconds double precision,
  "timestamp"      timestamptz      not null,
  processed_at     timestamptz      not null
);
comment on table raw_events is 'every distinct valid event, as it was first seen';

-- Block ranges: almost nothing to keep up, enough for "the last hour", since events arrive about in order.
create index raw_events_timestamp_idx on raw_events using brin ("timestamp");

create table hourly_aggregations (
  aggregation_hour       timestamptz not null,
  event_type             text collate "C" not null,
  total_events           bigint  not null,
  unique_users           bigint  not null,
  -- numeric: 1e7 events of the longest duration would overflow a bigint
  total_duration_ms      numeric not null,
  duration_count         bigint  not null,
  total_duration_seconds numeric generated always as (total_duration_ms / 1000) stored,
  avg_duration_seconds   numeric generated always as
                           (case when duration_count > 0 then total_duration_ms / duration_count / 1000 end) stored,
  -- events counted here that have no row in raw_events (SAVE_RAW_EVENTS=false)
  unsaved_events         bigint  not null,
  -- events that were processed after the hour was due to be closed
  late_events            bigint  not null,
  closed_at              timestamptz,
  created_at             timestamptz not null default now(),
  updated_at             timestamptz not null default now(),
  primary key (aggregation_hour, event_type)
);
comment on table hourly_aggregations is 'events by hour (UTC) and type; right at every commit, closed some minutes after the hour';

-- What makes unique_users exact: the distinct users of each hour and type.
create table hourly_users (
  aggregation_hour timestamptz not null,
  event_type       text collate "C" not null,
  user_id          text collate "C" not null,
  primary key (aggregation_hour, event_type, user_id)
);

-- How far each partition is stored. Advanced in the same transaction as the effects, by compare-and-set:
--   next_offset - first_offset = consumed + skipped,  consumed = stored + duplicates + dead_lettered
create table pipeline_offsets (
  topic         text collate "C" not null,
  -- a topic that is created anew gets another id, and starts from its beginning
  topic_id      text collate "C" not null,
  "partition"   integer not null,
  first_offset  bigint  not null,
  next_offset   bigint  not null,
  consumed      bigint  not null default 0,
  -- offsets without a record for us: transaction markers, aborted or compacted records, records that
  -- Kafka deleted before they were read
  skipped       bigint  not null default 0,
  stored        bigint  not null default 0,
  duplicates    bigint  not null default 0,
  dead_lettered bigint  not null default 0,
  updated_at    timestamptz not null default now(),
  primary key (topic, topic_id, "partition"),
  check (next_offset >= first_offset)
) with (fillfactor = 50); -- a handful of rows, each updated with every batch: room for updates in place

-- Records that can never be stored, as bytes: nothing in them can be refused.
create table dead_letter_events (
  topic                   text collate "C" not null,
  topic_id                text collate "C" not null,
  "partition"             integer not null,
  "offset"                bigint  not null,
  key                     bytea,
  value                   bytea,
  -- UTF-8 JSON: an array of [name, base64 of the value or null]
  headers                 bytea,
  stage                   text collate "C" not null,
  reason                  text collate "C" not null,
  error                   text not null,
  -- the clock and the limit that it was judged by, so that the judgement can be repeated
  first_seen_at           timestamptz not null,
  max_future_skew_seconds double precision not null,
  primary key (topic, topic_id, "partition", "offset")
);

-- Figures of the pipeline itself, written every FLUSH_INTERVAL_SECONDS.
create table pipeline_metrics (
  id           bigint generated always as identity primary key,
  metric_name  text collate "C" not null,
  metric_value double precision not null,
  labels       jsonb not null default '{}',
  recorded_at  timestamptz not null default now()
);
create index pipeline_metrics_name_idx on pipeline_metrics (metric_name, recorded_at);

-- A database holds one fold of the topics, and one consumer group feeds it at a time.
create table pipeline_state (
  singleton      boolean primary key default true check (singleton),
  consumer_group text collate "C",
  updated_at     timestamptz not null default now()
);
insert into pipeline_state default values;
