// Lays out the consumer's page.
import type { ConsumerSections, Flow, FlowPoint, Ledger } from "../../api-schema.ts";
import { AlertsSection } from "./alerts.tsx";
import { TimeChart } from "./chart.tsx";
import { DeadLettersSection } from "./dead-letters.tsx";
import { compact, count, duration, plural, rate, UNKNOWN } from "../../text/format.ts";
import { Figure, Layout, wasRead } from "./layout.tsx";
import { HoursSection } from "./hours.tsx";
import { LedgerSection } from "./ledger.tsx";
import type { Connection } from "./stream.ts";
import { useTitle } from "./title.ts";
import { WorkersSection } from "./workers.tsx";

interface ConsumerViewProps {
  readonly sections: Partial<ConsumerSections>;
  readonly connection: Connection;
}

export function ConsumerView({ sections, connection }: ConsumerViewProps) {
  const { status, flow, history = [], workers, ledger, hours, alerts } = sections;
  useTitle("consumer", status, connection);
  const deadLetters = sections["dead-letters"];
  return (
    <Layout program="consumer" status={status} connection={connection} nowMs={flow?.now.atMs ?? Date.now()}>
      {flow !== undefined && (
        <Figures flow={flow} ledger={ledger} partitions={workers?.flatMap((w) => w.partitions).length ?? 0} />
      )}
      {history.length > 0 && <Charts history={history} />}
      {alerts !== undefined && <AlertsSection alerts={alerts} />}
      {hours !== undefined && <HoursSection hours={hours} />}
      <div class="columns">
        {workers !== undefined && <WorkersSection workers={workers} />}
        {ledger !== undefined && <LedgerSection ledger={ledger} />}
      </div>
      {deadLetters !== undefined && <DeadLettersSection deadLetters={deadLetters} />}
    </Layout>
  );
}

function Figures({
  flow,
  ledger,
  partitions,
}: {
  flow: Flow;
  ledger: Ledger | undefined;
  partitions: number;
}) {
  const { now, totals } = flow;
  const isRead = ledger !== undefined && wasRead(ledger.database);
  return (
    <dl class="figures">
      <Figure name="Consumed" value={rate(now.consumedPerSecond)} unit="/s">
        {count(totals.consumed)} since the start
      </Figure>
      <Figure name="Lag" value={count(now.lagRecords)} unit="records">
        in {plural(partitions, "partition")}
      </Figure>
      <Figure name="Event age at commit" value={duration(now.age?.p50)} unit="p50">
        {duration(now.age?.p95)} p95, {duration(now.age?.p99)} p99
      </Figure>
      <Figure name="Processing" value={duration(now.processing?.p50)} unit="p50">
        {duration(now.processing?.p95)} p95, {duration(now.processing?.p99)} p99
      </Figure>
      <Figure name="Stored" value={isRead ? count(ledger.totals.stored) : UNKNOWN}>
        {isRead ? plural(ledger.totals.duplicates, "duplicate") : UNKNOWN} discarded
      </Figure>
      <Figure name="Dead letters" value={isRead ? count(ledger.totals.deadLettered) : UNKNOWN}>
        in the table, {rate(now.deadLettersPerSecond)}/s now
      </Figure>
    </dl>
  );
}

/** A logarithmic axis has no 0: its least value instead. */
function drawable(seconds: number | undefined): number | null {
  return seconds === undefined ? null : Math.max(seconds, 0.0001);
}

function Charts({ history }: { history: readonly FlowPoint[] }) {
  const timesMs = history.map(({ atMs }) => atMs);
  const quantiles = (of: "age" | "processing") =>
    [
      { label: "p99", color: "--chart-3", values: history.map((point) => drawable(point[of]?.p99)) },
      { label: "p95", color: "--chart-2", values: history.map((point) => drawable(point[of]?.p95)) },
      { label: "p50", color: "--chart-1", values: history.map((point) => drawable(point[of]?.p50)) },
    ] as const;
  return (
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
            label: "consumed",
            color: "--chart-1",
            isFilled: true,
            values: history.map(({ consumedPerSecond }) => consumedPerSecond),
          },
          {
            label: "dead letters",
            color: "--bad",
            hidesZero: true,
            values: history.map(({ deadLettersPerSecond }) => deadLettersPerSecond),
          },
        ]}
      />
      <TimeChart
        title="Lag"
        unit="records"
        timesMs={timesMs}
        range={[0, 10]}
        show={count}
        tick={compact}
        lines={[
          {
            label: "all partitions",
            color: "--chart-4",
            isFilled: true,
            values: history.map(({ lagRecords }) => lagRecords),
          },
        ]}
      />
      <TimeChart
        title="Event age at commit"
        unit="from its timestamp"
        timesMs={timesMs}
        range={[0.001, 1]}
        show={duration}
        tick={duration}
        lines={quantiles("age")}
      />
      <TimeChart
        title="Processing"
        unit="from receipt to commit"
        timesMs={timesMs}
        range={[0.001, 1]}
        show={duration}
        tick={duration}
        lines={quantiles("processing")}
      />
    </div>
  );
}
