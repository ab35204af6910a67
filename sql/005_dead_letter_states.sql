-- What became of a dead letter: it can be replayed, as it is or mended, or discarded. Its bytes, its reason and the clock
-- that it was judged by stay as they are.
alter table dead_letter_events
  add column state          text collate "C" not null default 'open'
    check (state in ('open', 'stored', 'duplicate', 'discarded')),
  -- replays that have judged it
  add column attempts       integer not null default 0,
  -- when it was last judged, or discarded
  add column changed_at     timestamptz,
  -- why the last replay has rejected it
  add column attempt_error  text,
  -- the event that it became, and the bytes that were stored, where they were mended
  add column event_id       text collate "C",
  add column mended_value   bytea,
  add column discard_reason text;

-- Counts and lists letters without reading them, however many there are.
create index dead_letter_events_state_idx on dead_letter_events (state, reason, first_seen_at, topic);

-- A replayed letter moves from dead_lettered to stored or duplicates; a discarded one stays in dead_lettered.
alter table pipeline_offsets
  add column replayed  bigint not null default 0,
  add column discarded bigint not null default 0;

comment on column dead_letter_events.state is 'open; or stored or duplicate, once it was replayed; or discarded';
comment on column pipeline_offsets.replayed is 'dead letters that were replayed, and count as stored or duplicates since';
comment on column pipeline_offsets.discarded is 'of dead_lettered: those that were discarded';
