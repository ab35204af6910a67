// Lays out what the pages share: header, status, figures, sections and notes.
import type { Child } from "hono/jsx";
import type { Source, Status } from "../../api-schema.ts";
import { duration, time } from "../../text/format.ts";
import type { Connection } from "./stream.ts";

export interface LayoutProps {
  readonly program: string;
  readonly status: Status | undefined;
  readonly connection: Connection;
  /** The program's clock in its last event. */
  readonly nowMs: number;
  readonly children: Child;
}

export function Layout({ program, status, connection, nowMs, children }: LayoutProps) {
  const isLost = connection.kind === "lost";
  return (
    <>
      <header class="top">
        <p class="brand">event-pipeline</p>
        <h1>{program}</h1>
        <p class="clock">
          {connection.kind === "live" && (
            <>
              <span class="pulse" aria-hidden="true" /> live
            </>
          )}
          {connection.kind === "connecting" && "connecting"}
          {isLost && <b class="bad">not live</b>}
          <span class="quiet"> {time(nowMs)} UTC</span>
        </p>
      </header>
      <main id="main" tabindex={-1}>
        <div role="alert">
          {isLost && (
            <p class="lost">
              <b>Connection lost at {time(connection.sinceMs)} UTC.</b> The {program} or the network may be
              down. The data below is from that moment; this page resumes automatically.
            </p>
          )}
        </div>
        <div class={isLost ? "stale" : ""}>
          <StatusCard status={status} nowMs={nowMs} />
          {children}
        </div>
      </main>
      <footer class="quiet">
        This data as JSON: <a href="/api">/api</a>. For Prometheus: <a href="/metrics">/metrics</a>. All times
        are UTC.
      </footer>
    </>
  );
}

const SIGNS: Readonly<Record<Status["state"], string>> = {
  well: "✓",
  starting: "…",
  stopping: "…",
  attention: "!",
  trouble: "✕",
};

function StatusCard({ status, nowMs }: { status: Status | undefined; nowMs: number }) {
  if (status === undefined) return <section class="status card" aria-label="State" aria-busy="true" />;
  const { state, headline, reasons, facts, version, startedAtMs } = status;
  return (
    <section class={`status card ${state}`} aria-label="State">
      <span class="sign" aria-hidden="true">
        {SIGNS[state]}
      </span>
      <div role="status">
        <h2>{headline}</h2>
        <ul>
          {reasons.map((reason) => (
            <li key={reason}>{reason}</li>
          ))}
        </ul>
      </div>
      <dl class="facts">
        {facts.map(({ name, value }) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
        <div>
          <dt>up</dt>
          <dd>
            {duration(Math.max(0, Math.floor((nowMs - startedAtMs) / 1000)))}, version {version}
          </dd>
        </div>
      </dl>
    </section>
  );
}

/** One of the figures in the row below the status. */
export function Figure({
  name,
  value,
  unit,
  children,
  tone = "",
}: {
  name: string;
  value: string;
  unit?: string;
  tone?: string;
  children?: Child;
}) {
  return (
    <div class={`figure card ${tone}`}>
      <dt>{name}</dt>
      <dd>
        <span class="value">{value}</span> {unit !== undefined && <span class="unit">{unit}</span>}
        <p class="quiet">{children}</p>
      </dd>
    </div>
  );
}

/** A section of the page with its heading. */
export function Section({
  id,
  title,
  aside,
  children,
}: {
  id: string;
  title: string;
  aside?: Child;
  children: Child;
}) {
  return (
    <section class="section" aria-labelledby={id}>
      <div class="heading">
        <h2 id={id}>{title}</h2>
        <p class="quiet">{aside}</p>
      </div>
      {children}
    </section>
  );
}

/** True if the source has figures, even old ones. Without figures a count is unknown, which is not 0. */
export function wasRead(source: Source): boolean {
  return source.state === "current" || source.readAtMs !== null;
}

/** A note if the figures of a source are old or not there yet. */
export function SourceNote({ source, name }: { source: Source; name: string }) {
  if (source.state === "current") return <></>;
  if (source.state === "waiting") return <p class="note">Waiting for {name}.</p>;
  return (
    <p class="note bad">
      These figures cannot be read from {name}: {source.reason}.{" "}
      {source.readAtMs === null
        ? "There is no data to show."
        : `The data below was read at ${time(source.readAtMs)} UTC.`}
    </p>
  );
}

/** The heads of number columns. */
export function NumberHeads({ names }: { names: readonly string[] }) {
  return (
    <>
      {names.map((name) => (
        <th key={name} scope="col" class="number">
          {name}
        </th>
      ))}
    </>
  );
}
