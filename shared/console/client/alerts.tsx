// Shows the alerts of the process and of Prometheus.
import type { Alerts } from "../../api-schema.ts";
import { time } from "../../text/format.ts";
import { Section } from "./layout.tsx";

export function AlertsSection({ alerts: { own, prometheus } }: { alerts: Alerts }) {
  const active = own.filter(({ endedAtMs }) => endedAtMs === null).length;
  const rules = grouped(prometheus.alerts);
  const firing = rules.filter(([{ state }]) => state === "firing").length;
  const aside = active + firing === 0 ? "none active" : `${active + firing} active`;
  return (
    <Section id="alerts" title="Alerts" aside={aside}>
      <div class="columns">
        <div class="card">
          <h3>This process</h3>
          {own.length === 0 && <p class="quiet">None since the start.</p>}
          <ul class="alerts">
            {own.map(({ type, severity, summary, startedAtMs, endedAtMs }) => (
              <li key={`${type} ${startedAtMs}`} class={endedAtMs === null ? severity : "ended"}>
                <b>{type}</b> <span class="tag">{endedAtMs === null ? severity : "ended"}</span>
                <p>{summary}</p>
                <p class="quiet">
                  since {time(startedAtMs)}
                  {endedAtMs !== null && `, ended ${time(endedAtMs)}`}
                </p>
              </li>
            ))}
          </ul>
        </div>
        <div class="card">
          <h3>Prometheus</h3>
          <PrometheusState prometheus={prometheus} />
          <ul class="alerts">
            {rules.map((alerts) => (
              <PrometheusAlert key={`${alerts[0].name} ${alerts[0].state}`} alerts={alerts} />
            ))}
          </ul>
        </div>
      </div>
    </Section>
  );
}

type RuleAlert = Alerts["prometheus"]["alerts"][number];
type Group = readonly [RuleAlert, ...RuleAlert[]];

/** Of more alerts of one rule only the number is shown. */
const MAX_DESCRIPTIONS = 3;

/** One rule may fire for several topics, reasons or programs. */
function grouped(alerts: readonly RuleAlert[]): Group[] {
  const groups = Object.values(Object.groupBy(alerts, ({ name, state }) => `${state} ${name}`));
  return groups
    .flatMap((group): Group[] => (group?.[0] === undefined ? [] : [[group[0], ...group.slice(1)]]))
    .toSorted(
      ([a], [b]) =>
        Number(a.state === "pending") - Number(b.state === "pending") || a.name.localeCompare(b.name),
    );
}

function PrometheusAlert({ alerts }: { alerts: Group }) {
  const [{ name, state, severity, summary, runbook, runbookUrl }] = alerts;
  const starts = alerts.flatMap(({ sinceMs }) => sinceMs ?? []);
  const more = alerts.length - MAX_DESCRIPTIONS;
  return (
    <li class={state === "firing" ? severity : "pending"}>
      <b>{name}</b> <span class="tag">{state === "firing" ? severity : "pending"}</span>
      <p>{summary}</p>
      {alerts.slice(0, MAX_DESCRIPTIONS).map(({ description }, index) => (
        <p key={index} class="quiet">
          {description}
        </p>
      ))}
      <p class="quiet">
        {more > 0 && `and ${more} more, `}
        {starts.length > 0 && `since ${time(Math.min(...starts))} `}
        {runbookUrl !== null ? (
          <a href={runbookUrl} rel="noopener noreferrer">
            what to do
          </a>
        ) : (
          runbook !== null && <code>{runbook}</code>
        )}
      </p>
    </li>
  );
}

function PrometheusState({ prometheus: { url, source, alerts } }: { prometheus: Alerts["prometheus"] }) {
  if (source.state === "away") {
    return (
      <p class="quiet">
        Unknown since {time(source.sinceMs)}: {source.reason} (PROMETHEUS_URL is <code>{url}</code>).
      </p>
    );
  }
  if (source.state === "waiting") return <p class="quiet">Waiting for {url}.</p>;
  if (alerts.length > 0) return <></>;
  return (
    <p class="quiet">
      None at <code>{url}</code>.
    </p>
  );
}
