// Makes a database refuse the content of some events, as a column that an operator gave a narrower type does.
// The tables as they are refuse nothing that the pipeline accepts.
import type { TestDatabase } from "./postgres.ts";

/** event_data that the database refuses after `refuseContent`, as text. */
export const REFUSED_DATA = '{"refused":1e20}';
/** Why, with the SQLSTATE: of class 22, so that the event is at fault and not the schema. */
export const REFUSED_ERROR = 'value "100000000000000000000" is out of range for type smallint (22003)';

/** Changes the type of raw_events.event_data. The tables must be there. */
export async function refuseContent({ sql }: Pick<TestDatabase, "sql">): Promise<void> {
  await sql.unsafe(`
    create domain event_data as jsonb check ((value ->> 'refused')::smallint is null);
    alter table raw_events alter event_data type event_data`);
}
