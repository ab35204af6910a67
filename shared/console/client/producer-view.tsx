// Lays out the producer's page.
import type { ProducerSections } from "../../api-schema.ts";
import { AlertsSection } from "./alerts.tsx";
import { TimeChart } from "./chart.tsx";
import { bytes, compact, count, percent, plural, rate } from "../../text/format.ts";
import { Figure, Layout, NumberHeads, Section } from "./layout.tsx";
import type { Connection } from "./stream.ts";
import { useTitle } from "./title.ts";

interface ProducerViewProps {
  readonly sections: Partial<ProducerSections>;
  readonly connection: Connection;
}

export function ProducerView({ sections, connection }: ProducerViewProps) {
  const { status, production, history = [], alerts } = sections;
  useTitle("producer", status, connection);
  const timesMs = history.map(({ atMs }) => atMs);
  return (
    <Layout
      program="producer"
      status={status}
      connection={connection}
      nowMs={production?.now.atMs ?? Date.now()}
    >
      {production !== undefined && (
        <dl class="figures">
          <Figure name="Produced" value={rate(production.now.producedPerSecond)} unit="/s">
            {count(production.totals.acknowledged)} acknowledged
          </Figure>
          <Figure name="Bytes" value={bytes(production.now.bytesPerSecond)} unit="/s">
            {bytes(production.totals.bytes)} since the start
          </Figure>
          <Figure name="In flight" value={count(production.now.outstanding)} unit="records">
            sent, not acknowledged yet
          </Figure>
          <Figure
            name="Failed"
            value={count(production.totals.failed)}
            tone={production.totals.failed > 0 ? "bad" : ""}
          >
            {production.lastFailure ?? "no errors"}
          </Figure>
        </dl>
      )}
      {history.length > 0 && (
        <div class="charts" role="group" aria-label="The last five minutes">
          <TimeChart
            title="Records"
            unit="per second"
            timesMs={timesMs}
            range={[0, 1]}
            show={rate}
            tick={compact}
            lines={[
              {
                label: "acknowledged",
                color: "--chart-1",
                isFilled: true,
                values: history.map(({ producedPerSecond }) => producedPerSecond),
              },
              {
                label: "failed",
                color: "--bad",
                hidesZero: true,
                values: history.map(({ failedPerSecond }) => failedPerSecond),
              },
            ]}
          />
          <TimeChart
            title="In flight"
            unit="records"
            timesMs={timesMs}
            range={[0, 10]}
            show={count}
            tick={compact}
            lines={[
              {
                label: "not acknowledged yet",
                color: "--chart-4",
                isFilled: true,
                values: history.map(({ outstanding }) => outstanding),
              },
            ]}
          />
        </div>
      )}
      {alerts !== undefined && <AlertsSection alerts={alerts} />}
      {production !== undefined && (
        <Section id="types" title="Event types" aside={plural(production.types.length, "type")}>
          <Types types={production.types} />
        </Section>
      )}
    </Layout>
  );
}

function Types({ types }: { types: ProducerSections["production"]["types"] }) {
  const most = types.reduce((max, { events }) => Math.max(max, events), 1);
  const total = types.reduce((sum, { events }) => sum + events, 0);
  return (
    <div class="card scroll">
      <table>
        <thead>
          <tr>
            <th scope="col">event type</th>
            <NumberHeads names={["acknowledged", "share"]} />
            <td />
          </tr>
        </thead>
        <tbody>
          {types.map(({ eventType, events }) => (
            <tr key={eventType}>
              <th scope="row">{eventType}</th>
              <td class="number">{count(events)}</td>
              <td class="number">{percent(events / Math.max(1, total))}</td>
              <td class="wide">
                <span class="bar" style={{ width: `${(events / most) * 100}%` }} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
