// Deletes the users of sealed hours, in the order of their key. No worker writes users of such an hour any more.

import type { Session } from "../session.ts";
import type { Pruner, PruneStep } from "./pruner.ts";
import { StepSize } from "./step-size.ts";

const LEAST_USERS = 200;
const MOST_USERS = 5000;

/** An hour that has users to delete, and the last one that was. */
interface Walk {
  /** As PostgreSQL writes it. */
  readonly hour: string;
  /** The types that were sealed when the hour was found, as PostgreSQL writes an array. */
  readonly types: string;
  readonly lastType: string;
  readonly lastUser: string;
  readonly isAtEnd: boolean;
}

const FIND_HOUR = `
  select aggregation_hour::text as hour, array_agg(event_type)::text as types
  from sealed_hours
  where users_pruned_at is null and aggregation_hour < (select hourly_users_cutoff from pipeline_state)
  group by aggregation_hour order by aggregation_hour limit 1`;

const DELETE = `
  with doomed as (
    select event_type, user_id from hourly_users
    where aggregation_hour = $1::text::timestamptz and event_type = any($2::text::text[])
      and (event_type, user_id) > ($3::text, $4::text)
    order by event_type, user_id
    limit $5
  ), deleted as (
    delete from hourly_users u using doomed d
    where u.aggregation_hour = $1::text::timestamptz and u.event_type = d.event_type and u.user_id = d.user_id
    returning u.event_type
  ), counted as (
    select event_type, count(*) as users from deleted group by event_type
  ), sealed as (
    update sealed_hours s set pruned_users = s.pruned_users + c.users
    from counted c
    where s.aggregation_hour = $1::text::timestamptz and s.event_type = c.event_type
  )
  select event_type as type, user_id as user, (select coalesce(sum(users), 0)::int from counted) as rows,
    (select count(*)::int from doomed) as found
  from doomed order by event_type desc, user_id desc limit 1`;

const FINISH = `
  update sealed_hours set users_pruned_at = now()
  where aggregation_hour = $1::text::timestamptz and event_type = any($2::text::text[]) and users_pruned_at is null`;

interface DeletedUsers {
  /** The last user. */
  readonly type: string;
  readonly user: string;
  readonly rows: number;
  readonly found: number;
}

export class UserPruner implements Pruner {
  readonly table = "hourly_users";
  readonly #size = new StepSize(LEAST_USERS, MOST_USERS);
  #walk: Walk | undefined;

  async next(session: Session): Promise<PruneStep | undefined> {
    const walk = this.#walk ?? (await findHour(session));
    if (walk === undefined) return undefined;
    return walk.isAtEnd ? this.#finish(walk) : this.#delete(walk, this.#size.current);
  }

  forget(): void {
    this.#walk = undefined;
  }

  #delete(walk: Walk, users: number): PruneStep {
    let deleted: DeletedUsers | undefined;
    return {
      run: async (tx) => {
        const { hour, types, lastType, lastUser } = walk;
        [deleted] = await tx.unsafe<DeletedUsers[]>(DELETE, [hour, types, lastType, lastUser, users]);
        return deleted?.rows ?? 0;
      },
      committed: (_rows, ms) => {
        this.#size.adapt(ms);
        this.#walk =
          deleted === undefined || deleted.found < users
            ? { ...walk, isAtEnd: true }
            : { ...walk, lastType: deleted.type, lastUser: deleted.user };
      },
    };
  }

  #finish({ hour, types }: Walk): PruneStep {
    return {
      run: async (tx) => {
        await tx.unsafe(FINISH, [hour, types]);
        return 0;
      },
      committed: () => this.forget(),
    };
  }
}

async function findHour(session: Session): Promise<Walk | undefined> {
  const [found] = await session.run((sql) => sql.unsafe<Pick<Walk, "hour" | "types">[]>(FIND_HOUR));
  return found && { ...found, lastType: "", lastUser: "", isAtEnd: false };
}
