-- Finds the hours that are due for closing, however many closed ones there are.
create index hourly_aggregations_open_idx on hourly_aggregations (aggregation_hour, event_type)
  where closed_at is null;
