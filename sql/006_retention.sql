-- What every transaction of a worker reads with its fence.
alter table pipeline_state
  add column users_epoch      bigint not null default 0,
  add column retention_cutoff timestamptz
    check (retention_cutoff = date_trunc('hour', retention_cutoff, 'UTC'));

comment on column pipeline_state.users_epoch is 'raised by whatever deletes rows of hourly_users: workers then forget the users that
they know to be stored';
comment on column pipeline_state.retention_cutoff is 'events of earlier hours are dead letters, with the reason expired; it only rises';
