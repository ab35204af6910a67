// Polls the alerts of a Prometheus, and says why they are unknown if it does not answer.
import { type Static, Type } from "typebox";
import { Compile } from "typebox/compile";
import { codeOf, errorMessage } from "../runtime/errors.ts";
import type { Alerts, Source } from "../api-schema.ts";

type PrometheusAlerts = Alerts["prometheus"];

const DEADLINE_MS = 2000;
const EVERY_MS = 5000;
const MAX_ALERTS = 100;
const MAX_BYTES = 2_000_000;

/** The used part of the answer; see Prometheus's HTTP API. */
const AnswerSchema = Type.Object({
  status: Type.Literal("success"),
  data: Type.Object({
    alerts: Type.Array(
      Type.Object({
        state: Type.String(),
        activeAt: Type.Optional(Type.String()),
        labels: Type.Record(Type.String(), Type.String()),
        annotations: Type.Optional(Type.Record(Type.String(), Type.String())),
      }),
    ),
  }),
});
const answer = Compile(AnswerSchema);

/** Has the alerts of a Prometheus, requested every few seconds while a browser watches. */
export class PrometheusWatch {
  readonly #url: URL;
  readonly #shownUrl: string;
  readonly #everyMs: number;
  #source: Source = { state: "waiting", sinceMs: Date.now(), readAtMs: null, reason: null };
  #alerts: PrometheusAlerts["alerts"] = [];
  #requestedAtMs = Number.NEGATIVE_INFINITY;
  #request: Promise<void> | undefined;

  /**
   * @param url its address; a user name and password in it are used, and not shown
   * @param everyMs the least time between two requests
   */
  constructor(url: string, everyMs = EVERY_MS) {
    this.#everyMs = everyMs;
    const base = url.endsWith("/") ? url : `${url}/`;
    this.#url = new URL("api/v1/alerts", base);
    const shown = new URL(base);
    shown.username = "";
    shown.password = "";
    shown.search = "";
    this.#shownUrl = shown.href;
  }

  read(): PrometheusAlerts {
    return { url: this.#shownUrl, source: this.#source, alerts: this.#alerts };
  }

  /** Requests the alerts if the last answer is old; never rejects, and takes at most two seconds. */
  async refresh(): Promise<void> {
    if (this.#request === undefined) {
      if (performance.now() - this.#requestedAtMs < this.#everyMs) return;
      this.#request = this.#update().finally(() => {
        this.#requestedAtMs = performance.now();
        this.#request = undefined;
      });
    }
    await this.#request;
  }

  async #update(): Promise<void> {
    try {
      this.#alerts = await this.#fetch();
      this.#setSource("current", null);
    } catch (error) {
      // Old alerts may have ended: it is better to show none than wrong ones.
      this.#alerts = [];
      this.#setSource("away", reasonOf(error));
    }
  }

  #setSource(state: Source["state"], reason: string | null): void {
    const sinceMs = this.#source.state === state ? this.#source.sinceMs : Date.now();
    this.#source = { state, sinceMs, readAtMs: null, reason };
  }

  async #fetch(): Promise<PrometheusAlerts["alerts"]> {
    const { username, password } = this.#url;
    const url = new URL(this.#url);
    url.username = "";
    url.password = "";
    const response = await fetch(url, {
      signal: AbortSignal.timeout(DEADLINE_MS),
      redirect: "error",
      headers:
        username === ""
          ? {}
          : {
              Authorization: `Basic ${btoa(`${decodeURIComponent(username)}:${decodeURIComponent(password)}`)}`,
            },
    });
    if (!response.ok) throw new Error(`it answered with status ${response.status}`);
    const value = parsed(await textOf(response));
    if (!answer.Check(value))
      throw new Error("the answer is not that of a Prometheus: another program may use this port");
    return value.data.alerts
      .filter(({ state }) => state !== "inactive")
      .slice(0, MAX_ALERTS)
      .map(toAlert);
  }
}

/** @throws Error when it is too long: another program may answer on this port without an end */
async function textOf(response: Response): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    bytes += chunk.length;
    if (bytes > MAX_BYTES) throw new Error("its answer is longer than 2 MB");
    text += decoder.decode(chunk, { stream: true });
  }
  return text;
}

/** Undefined for what is no JSON. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function toAlert({
  state,
  activeAt,
  labels,
  annotations,
}: Static<typeof AnswerSchema>["data"]["alerts"][number]): PrometheusAlerts["alerts"][number] {
  const { summary = "", description = "", runbook_url: runbook } = annotations ?? {};
  const sinceMs = Date.parse(activeAt ?? "");
  return {
    name: labels["alertname"] ?? "(no name)",
    state: state === "firing" ? "firing" : "pending",
    severity: labels["severity"] ?? "none",
    summary,
    description,
    sinceMs: Number.isNaN(sinceMs) ? null : sinceMs,
    runbook: runbook ?? null,
    // A rule must not be able to run a script in this page.
    runbookUrl: runbook !== undefined && /^https?:\/\//i.test(runbook) ? runbook : null,
  };
}

function reasonOf(error: unknown): string {
  if (error instanceof DOMException && error.name === "TimeoutError") {
    return `no answer within ${DEADLINE_MS / 1000} s`;
  }
  const code = codeOf(error);
  return code === "ConnectionRefused" || code === "ECONNREFUSED" ? "connection refused" : errorMessage(error);
}
