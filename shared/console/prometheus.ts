// The address of a Prometheus in; its alerts, or why it does not tell them, out.
import { type Static, Type } from "typebox";
import { Compile } from "typebox/compile";
import { codeOf, errorMessage } from "../runtime/errors.ts";
import type { Alerts, Source } from "../api-schema.ts";

type PrometheusAlerts = Alerts["prometheus"];

const DEADLINE_MS = 2000;
const EVERY_MS = 5000;
const MOST_ALERTS = 100;
const MOST_BYTES = 2_000_000;

/** What of the answer is used; see Prometheus's HTTP API. */
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

/** The alerts of a Prometheus, asked for every few seconds while anybody looks. */
export class PrometheusWatch {
  readonly #url: URL;
  readonly #shownUrl: string;
  readonly #everyMs: number;
  #source: Source = { state: "waiting", sinceMs: Date.now(), readAtMs: null, reason: null };
  #alerts: PrometheusAlerts["alerts"] = [];
  #askedAtMs = Number.NEGATIVE_INFINITY;
  #asking: Promise<void> | undefined;

  /**
   * @param url its address; a name and password in it are used, and not shown
   * @param everyMs the least time between two questions
   */
  constructor(url: string, everyMs = EVERY_MS) {
    this.#everyMs = everyMs;
    const base = url.endsWith("/") ? url : `${url}/`;
    this.#url = new URL("api/v1/alerts", base);
    const shown = new URL(base);
    shown.username = "";
    shown.password = "";
    this.#shownUrl = shown.href;
  }

  read(): PrometheusAlerts {
    return { url: this.#shownUrl, source: this.#source, alerts: this.#alerts };
  }

  /** Asks again when the last answer is old; never rejects, and ends within two seconds. */
  async refresh(): Promise<void> {
    if (this.#asking === undefined) {
      if (performance.now() - this.#askedAtMs < this.#everyMs) return;
      this.#asking = this.#ask().finally(() => {
        this.#askedAtMs = performance.now();
        this.#asking = undefined;
      });
    }
    await this.#asking;
  }

  async #ask(): Promise<void> {
    try {
      this.#alerts = await this.#fetch();
      this.#become("current", null);
    } catch (error) {
      // What was true a while ago may be over: better none than old ones.
      this.#alerts = [];
      this.#become("away", reasonOf(error));
    }
  }

  #become(state: Source["state"], reason: string | null): void {
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
    if (!response.ok) throw new Error(`it answers with status ${response.status}`);
    if (Number(response.headers.get("content-length") ?? 0) > MOST_BYTES)
      throw new Error("its answer is too long");
    const value: unknown = await response.json().catch(() => undefined);
    if (!answer.Check(value)) throw new Error("its answer is not Prometheus's: is there another program?");
    return value.data.alerts
      .filter(({ state }) => state !== "inactive")
      .slice(0, MOST_ALERTS)
      .map(toAlert);
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
    // Whoever writes a rule shall not run a script here.
    runbookUrl: runbook !== undefined && /^https?:\/\//i.test(runbook) ? runbook : null,
  };
}

function reasonOf(error: unknown): string {
  if (error instanceof DOMException && error.name === "TimeoutError") {
    return `it has not answered within ${DEADLINE_MS / 1000} s`;
  }
  const code = codeOf(error);
  return code === "ConnectionRefused" || code === "ECONNREFUSED"
    ? "nothing listens there"
    : errorMessage(error);
}
