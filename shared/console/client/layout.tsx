// A program's status and connection in; the top of its page out: whose it is, whether it is well, whether it is live.
import type { Child } from "hono/jsx";
import type { Source, Status } from "../../api-schema.ts";
import { duration, time } from "../../text/format.ts";
import type { Connection } from "./stream.ts";

export interface FrameProps {
  readonly program: string;
  readonly status: Status | undefined;
  readonly connection: Connection;
  /** The program's clock as last told. */
  readonly nowMs: number;
  readonly children: Child;
}

export function Frame({ program, status, connection, nowMs, children }: FrameProps) {
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
              <b>Connection lost at {time(connection.sinceMs)} UTC.</b> The {program} may have stopped, or the
              network. What stands below is from then; this page goes on by itself when it is back.
            </p>
          )}
        </div>
        <div class={isLost ? "stale" : ""}>
          <Verdict status={status} nowMs={nowMs} />
          {children}
        </div>
      </main>
      <footer class="quiet">
        The same as JSON: <a href="/api">/api</a>. For Prometheus: <a href="/metrics">/metrics</a>. Times are
        UTC.
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

function Verdict({ status, nowMs }: { status: Status | undefined; nowMs: number }) {
  if (status === undefined) return <section class="verdict card" aria-label="State" aria-busy="true" />;
  const { state, headline, reasons, facts, version, startedAtMs } = status;
  return (
    <section class={`verdict card ${state}`} aria-label="State">
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

/** One of the figures in the row below the verdict. */
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

/** A part of the page with its heading. */
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
    <section class="part" aria-labelledby={id}>
      <div class="heading">
        <h2 id={id}>{title}</h2>
        <p class="quiet">{aside}</p>
      </div>
      {children}
    </section>
  );
}

/** Whether there are figures of it, be they old: where there are none, nothing is known, which is not 0. */
export function wasRead(source: Source): boolean {
  return source.state === "current" || source.readAtMs !== null;
}

/** Says so where figures that come from elsewhere are old, or not there yet. */
export function SourceNote({ source, name }: { source: Source; name: string }) {
  if (source.state === "current") return <></>;
  if (source.state === "waiting") return <p class="note">Waiting for {name}.</p>;
  return (
    <p class="note bad">
      {name} is away, as of {time(source.sinceMs)} UTC: {source.reason}.{" "}
      {source.readAtMs === null
        ? "There is nothing to show."
        : `What stands here was read at ${time(source.readAtMs)}.`}
    </p>
  );
}

/** The heads of columns that hold numbers. */
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
