// Shows the ledger: what became of the records of each partition, and whether that adds up.
import type { Ledger } from "../../api-schema.ts";
import { count } from "../../text/format.ts";
import { NumberHeads, Section, SourceNote } from "./layout.tsx";

export function LedgerSection({ ledger: { database, balances, totals, partitions } }: { ledger: Ledger }) {
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
      <div class="card scroll" tabindex={0} role="region" aria-label="Records by partition">
        <table>
          <caption class="quiet">
            consumed = stored + duplicates + dead letters, and next − first offset = consumed + deleted + gaps
          </caption>
          <thead>
            <tr>
              <th scope="col">partition</th>
              <NumberHeads
                names={["next offset", "consumed", "stored", "duplicates", "dead letters", "deleted", "gaps"]}
              />
              <td />
            </tr>
          </thead>
          <tbody>
            {partitions.map((row) => (
              <tr key={`${row.topicId} ${row.partition} ${row.reading}`}>
                <th scope="row" title={`${row.topic}, topic id ${row.topicId}`}>
                  {topics.size > 1 ? `${row.topic}[${row.partition}]` : row.partition}
                  {row.reading > 0 && ` (reading ${row.reading})`}
                </th>
                <td class="number">{count(row.nextOffset)}</td>
                <td class="number">{count(row.consumed)}</td>
                <td class="number">{count(row.stored)}</td>
                <td class="number">{count(row.duplicates)}</td>
                <td class="number">{count(row.deadLettered)}</td>
                <td class={row.deleted === 0 ? "number" : "number bad"}>{count(row.deleted)}</td>
                <td class="number">{count(row.gaps)}</td>
                <td class={row.balances ? "good" : "bad"}>{row.balances ? "✓" : "✕ mismatch"}</td>
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
              <td class={totals.deleted === 0 ? "number" : "number bad"}>{count(totals.deleted)}</td>
              <td class="number">{count(totals.gaps)}</td>
              <td />
            </tr>
          </tfoot>
        </table>
      </div>
    </Section>
  );
}
