-- Of a record that is too large to be kept whole a dead letter holds the beginning. These columns tell what is missing;
-- each is null where all of it is there.
alter table dead_letter_events
  add column key_bytes     bigint,
  add column value_bytes   bigint,
  add column value_sha256  bytea,
  add column headers_bytes bigint;

comment on column dead_letter_events.key_bytes is 'the length of a key of which only the first bytes are kept';
comment on column dead_letter_events.value_bytes is 'the length of a value of which only the first bytes are kept';
comment on column dead_letter_events.value_sha256 is 'SHA-256 of a value of which only the first bytes are kept';
comment on column dead_letter_events.headers_bytes is 'the length of the names and values of all headers, where not all are kept';
