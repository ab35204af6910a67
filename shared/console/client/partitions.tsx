// Workers and stored offsets in; who reads what, and the account of every record, out.
import type { Ledger, Workers } from "../../api-schema.ts";
import { count, plural, UNKNOWN } from "../../text/format.ts";
import { NumberHeads, Section, SourceNote } from "./layout.tsx";

/** A bar is full at this lag, unless one is longer. */
const LEAST_FULL_LAG = 100;

export function WorkersPart({ workers }: { workers: Workers }) {
  const owned = workers
    .flatMap(({ worker, partitions }) => partitions.map((partition) => ({ worker, ...partition })))
    .toSorted((a, b) => a.topic.localeCompare(b.topic) || a.partition - b.partition);
  /** Those that a row of a partition does not tell of. */
  const apart = workers.filter(
    ({ partitions, pausedBecause }) => partitions.length === 0 || pausedBecause !== null,
  );
  const topics = new Set(owned.map(({ topic }) => topic));
  const most = owned.reduce((max, { lag }) => Math.max(max, lag ?? 0), LEAST_FULL_LAG);
  return (
    <Section id="workers" title="Workers and partitions" aside={plural(workers.length, "worker")}>
      <div class="card scroll" tabindex={0} role="region" aria-label="Partitions">
        <table>
          <thead>
            <tr>
              <th scope="col">partition</th>
              <th scope="col">worker</th>
              <th scope="col">state</th>
              <NumberHeads names={["stored up to", "lag"]} />
              <td />
            </tr>
          </thead>
          <tbody>
            {owned.map(({ worker, topic, partition, state, storedOffset, lag }) => (
              <tr key={`${topic} ${partition}`}>
                <th scope="row">{topics.size > 1 ? `${topic}[${partition}]` : partition}</th>
                <td>{worker}</td>
                <td class={state === "fetching" ? "" : "bad"}>{STATES[state] ?? state}</td>
                <td class="number">{count(storedOffset)}</td>
                <td class="number">{count(lag)}</td>
                <td class="wide">
                  <span class="bar" style={{ width: `${((lag ?? 0) / most) * 100}%` }} />
                </td>
              </tr>
            ))}
            {apart.map(({ worker, state, pausedBecause }) => (
              <tr key={`worker ${worker}`}>
                <td>{UNKNOWN}</td>
                <td>{worker}</td>
                <td colspan={4} class={pausedBecause === null ? "quiet" : "bad words"}>
                  {pausedBecause === null
                    ? state === "reading"
                      ? "has no partition"
                      : state
                    : `paused: ${pausedBecause}`}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </Section>
  );
}

const STATES: Readonly<Record<string, string>> = {
  fetching: "reading",
  awaiting_offset: "waits for its offset",
  out_of_range: "outside of the log",
  beyond_end: "past the end of the log",
};

export function LedgerPart({ ledger: { database, balances, totals, partitions } }: { ledger: Ledger }) {
  const topics = new Set(partitions.map(({ topicId }) => topicId));
  return (
    <Section
      id="ledger"
      title="Ledger"
      aside={
        partitions.length === 0 ? (
          ""
        ) : balances ? (
          <b class="good">✓ every record accounted for</b>
        ) : (
          <b class="bad">✕ does not balance: run `bun run check`</b>
        )
      }
    >
      <SourceNote source={database} name="PostgreSQL" />
      <div class="card scroll" tabindex={0} role="region" aria-label="Accounts of the partitions">
        <table>
          <caption class="quiet">
            consumed = stored + duplicates + dead letters, and next − first offset = consumed + skipped
          </caption>
          <thead>
            <tr>
              <th scope="col">partition</th>
              <NumberHeads names={["next", "consumed", "stored", "duplicates", "dead", "skipped"]} />
              <td />
            </tr>
          </thead>
          <tbody>
            {partitions.map((account) => (
              <tr key={`${account.topicId} ${account.partition}`}>
                <th scope="row" title={`${account.topic}, topic id ${account.topicId}`}>
                  {topics.size > 1 ? `${account.topic}[${account.partition}]` : account.partition}
                </th>
                <td class="number">{count(account.nextOffset)}</td>
                <td class="number">{count(account.consumed)}</td>
                <td class="number">{count(account.stored)}</td>
                <td class="number">{count(account.duplicates)}</td>
                <td class="number">{count(account.deadLettered)}</td>
                <td class="number">{count(account.skipped)}</td>
                <td class={account.balances ? "good" : "bad"}>{account.balances ? "✓" : "✕ off"}</td>
              </tr>
            ))}
          </tbody>
          <tfoot>
            <tr>
              <th scope="row">all</th>
              <td />
              <td class="number">{count(totals.consumed)}</td>
              <td class="number">{count(totals.stored)}</td>
              <td class="number">{count(totals.duplicates)}</td>
              <td class="number">{count(totals.deadLettered)}</td>
              <td class="number">{count(totals.skipped)}</td>
              <td />
            </tr>
          </tfoot>
        </table>
      </div>
    </Section>
  );
}
