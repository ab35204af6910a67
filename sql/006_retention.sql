-- Retention: hours below a cut-off take no more events; they are sealed with their figures, and lose their raw events and users.
-- compatible with 005

-- Every transaction of a worker reads them with its fence.
alter table pipeline_state
  add column users_epoch         bigint not null default 0,
  add column raw_events_cutoff   timestamptz check (raw_events_cutoff = date_trunc('hour', raw_events_cutoff, 'UTC')),
  add column hourly_users_cutoff timestamptz check (hourly_users_cutoff = date_trunc('hour', hourly_users_cutoff, 'UTC')),
  add column retention_cutoff    timestamptz generated always as (greatest(raw_events_cutoff, hourly_users_cutoff)) stored;

comment on column pipeline_state.users_epoch is 'raised by whatever deletes rows of hourly_users: workers then forget the users that
they know to be stored';
comment on column pipeline_state.raw_events_cutoff is 'raw events of earlier hours are deleted; it only rises';
comment on column pipeline_state.hourly_users_cutoff is 'users of earlier hours are deleted; it only rises';
comment on column pipeline_state.retention_cutoff is 'events of earlier hours are dead letters, with the reason expired';

-- The figures of an hour and type when the first of its raw events or users could be deleted. They do not change any more.
create table sealed_hours (
  aggregation_hour  timestamptz not null,
  event_type        text collate "C" not null,
  total_events      bigint  not null,
  unique_users      bigint  not null,
  total_duration_ms numeric not null,
  duration_count    bigint  not null,
  unsaved_events    bigint  not null,
  late_events       bigint  not null,
  sealed_at         timestamptz not null default now(),
  -- rows of raw_events and hourly_users that were deleted
  pruned_events     bigint  not null default 0,
  pruned_users      bigint  not null default 0,
  -- when the last of them was
  events_pruned_at  timestamptz,
  users_pruned_at   timestamptz,
  primary key (aggregation_hour, event_type)
);
create index sealed_hours_events_idx on sealed_hours (aggregation_hour) where events_pruned_at is null;
create index sealed_hours_users_idx on sealed_hours (aggregation_hour) where users_pruned_at is null;

-- Dead letters that were deleted by age, so that the counts of their partitions still add up.
create table pruned_dead_letters (
  topic       text collate "C" not null,
  topic_id    text collate "C" not null,
  "partition" integer not null,
  reading     integer not null,
  -- what had become of them
  state       text collate "C" not null,
  letters     bigint not null,
  primary key (topic, topic_id, "partition", reading, state)
);

-- Blocks that no vacuum has summarized yet are read by every search for an hour.
alter index raw_events_timestamp_idx set (autosummarize = on);
