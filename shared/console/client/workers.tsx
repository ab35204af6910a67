// Shows the workers and the partitions that each reads.
import type { Workers } from "../../api-schema.ts";
import { count, plural, UNKNOWN } from "../../text/format.ts";
import { NumberHeads, Section } from "./layout.tsx";

/** A bar is full at this lag, unless another partition has more. */
const MIN_FULL_LAG = 100;

export function WorkersSection({ workers }: { workers: Workers }) {
  const owned = workers
    .flatMap(({ worker, partitions }) => partitions.map((partition) => ({ worker, ...partition })))
    .toSorted((a, b) => a.topic.localeCompare(b.topic) || a.partition - b.partition);
  /** Workers that no row of a partition shows completely. */
  const withoutRow = workers.filter(
    ({ partitions, state, pausedBecause }) =>
      partitions.length === 0 || state === "silent" || pausedBecause !== null,
  );
  const topics = new Set(owned.map(({ topic }) => topic));
  const most = owned.reduce((max, { lag }) => Math.max(max, lag ?? 0), MIN_FULL_LAG);
  return (
    <Section id="workers" title="Workers and partitions" aside={plural(workers.length, "worker")}>
      <div class="card scroll" tabindex={0} role="region" aria-label="Partitions">
        <table>
          <thead>
            <tr>
              <th scope="col">partition</th>
              <th scope="col">worker</th>
              <th scope="col">state</th>
              <NumberHeads names={["stored offset", "lag"]} />
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
            {withoutRow.map(({ worker, state, pausedBecause }) => (
              <tr key={`worker ${worker}`}>
                <td>{UNKNOWN}</td>
                <td>{worker}</td>
                <td colspan={4} class={pausedBecause === null && state !== "silent" ? "quiet" : "bad words"}>
                  {state !== "silent" && pausedBecause !== null
                    ? `paused: ${pausedBecause}`
                    : (WORKER_STATES[state] ?? state)}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </Section>
  );
}

const WORKER_STATES: Readonly<Record<string, string>> = {
  reading: "no partition",
  silent: "no sign of life",
};

const STATES: Readonly<Record<string, string>> = {
  fetching: "reading",
  unreadable: "cannot be read",
  awaiting_offset: "waiting for its offset",
  out_of_range: "out of range",
  over_limit: "too many dead letters",
};
