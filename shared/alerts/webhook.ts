// Posts each alert to ALERT_WEBHOOK_URL when it starts and when it ends, in the background.

import { Backoff } from "../runtime/backoff.ts";
import { codeOf } from "../runtime/errors.ts";
import { Notifier } from "../runtime/notifier.ts";
import type { Alert } from "./alerts.ts";
import type { Logger } from "../telemetry/log.ts";
import { webhookMessage } from "./webhook-message.ts";

/** Beyond this many the oldest are dropped. */
const QUEUE_LIMIT = 100;
const ANSWER_DEADLINE_MS = 5000;
const FIRST_RETRY_MS = 500;
const LAST_RETRY_MS = 15_000;
const LONGEST_RETRY_AFTER_MS = 60_000;
const CLOSE_DEADLINE_MS = 3000;
/** Statuses that concern the moment and not the message; they are retried, like those from 500 on. */
const TEMPORARY_STATUSES: ReadonlySet<number> = new Set([408, 425, 429]);

export interface WebhookOptions {
  /** A secret, never logged. */
  readonly url: string;
  /** The program ("consumer") and where it runs ("host:8002"), for the reader of the message. */
  readonly job: string;
  readonly instance: string;
  readonly log: Logger;
  /** The receiver's time to answer; by default 5 s. */
  readonly answerDeadlineMs?: number;
  /** The wait after the second failure in a row; it doubles with each further one. By default 0.5 s. */
  readonly firstRetryMs?: number;
}

/** The result of one attempt: `failed` is retried, `refused` is not. */
interface Outcome {
  readonly kind: "accepted" | "failed" | "refused";
  /** For the log. The receiver's own words are left out: they may quote the address. */
  readonly reason: string;
  /** The wait that the receiver asks for. */
  readonly retryAfterMs: number;
}

/**
 * Posts alerts in order, each until it is accepted or refused. The program never waits for it: alerts that cannot be
 * posted are queued, up to a limit. A failing receiver is logged once, and once more when it accepts alerts again.
 * A retry library such as ky does not fit: its retry delay cannot be cut short, which the end of the program needs.
 */
export class AlertWebhook {
  readonly #options: WebhookOptions;
  readonly #queue: Alert[] = [];
  readonly #backoff: Backoff;
  readonly #wake = new Notifier();
  readonly #abort = new AbortController();
  #posting: Promise<void> | undefined;
  #isClosing = false;
  #lastOutcome: Outcome["kind"] = "accepted";

  constructor(options: WebhookOptions) {
    this.#options = options;
    this.#backoff = new Backoff(options.firstRetryMs ?? FIRST_RETRY_MS, LAST_RETRY_MS);
  }

  /** Queues an alert that has started or ended. Returns at once. */
  post(alert: Alert): void {
    this.#queue.push(alert);
    if (this.#queue.length > QUEUE_LIMIT) this.#queue.shift();
    this.#posting ??= this.#postAll().finally(() => (this.#posting = undefined));
  }

  /** Posts the queued alerts for three more seconds at most. Never rejects. */
  async close(): Promise<void> {
    this.#isClosing = true;
    this.#wake.notify();
    const deadline = setTimeout(() => {
      this.#abort.abort();
      this.#wake.notify();
    }, CLOSE_DEADLINE_MS);
    await this.#posting;
    clearTimeout(deadline);
    const left = this.#queue.length;
    if (left > 0)
      this.#options.log.warn({ alerts: left }, "these alerts could not be posted to the alert webhook");
  }

  async #postAll(): Promise<void> {
    for (let alert = this.#queue[0]; alert !== undefined; alert = this.#queue[0]) {
      const outcome = await this.#try(alert);
      if (this.#abort.signal.aborted && outcome.kind !== "accepted") return;
      this.#logChange(outcome);
      if (outcome.kind === "failed") {
        const backoffMs = Math.max(this.#backoff.next(), outcome.retryAfterMs);
        await this.#wake.wait(this.#isClosing ? FIRST_RETRY_MS : backoffMs);
        continue;
      }
      this.#backoff.reset();
      // A full queue may have dropped this alert meanwhile.
      if (this.#queue[0] === alert) this.#queue.shift();
    }
  }

  async #try(alert: Alert): Promise<Outcome> {
    const { url, job, instance, answerDeadlineMs = ANSWER_DEADLINE_MS } = this.#options;
    try {
      const answer = await fetch(url, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify(webhookMessage(alert, { job, instance })),
        // A redirect would turn the POST into a GET without a body.
        redirect: "manual",
        signal: AbortSignal.any([AbortSignal.timeout(answerDeadlineMs), this.#abort.signal]),
      });
      await answer.body?.cancel();
      const reason = `HTTP status ${answer.status}`;
      const retryAfterMs = retryAfterOf(answer);
      if (answer.ok) return { kind: "accepted", reason, retryAfterMs };
      const isTemporary = answer.status >= 500 || TEMPORARY_STATUSES.has(answer.status);
      return { kind: isTemporary ? "failed" : "refused", reason, retryAfterMs };
    } catch (error) {
      return { kind: "failed", reason: nameOf(error), retryAfterMs: 0 };
    }
  }

  #logChange({ kind, reason }: Outcome): void {
    const { log } = this.#options;
    if (kind === this.#lastOutcome) return;
    this.#lastOutcome = kind;
    switch (kind) {
      case "accepted":
        return log.info("the alert webhook is accepting alerts again");
      case "failed":
        return log.warn({ reason }, "the alert webhook (ALERT_WEBHOOK_URL) does not answer; retrying");
      case "refused":
        return log.error(
          { reason },
          "the alert webhook (ALERT_WEBHOOK_URL) refuses alerts; they are dropped",
        );
    }
  }
}

/** The seconds of a Retry-After header, in ms and up to a minute; 0 without one. Its date form is ignored. */
function retryAfterOf({ headers }: Response): number {
  const seconds = Number(headers.get("Retry-After"));
  return Number.isFinite(seconds) && seconds > 0 ? Math.min(seconds * 1000, LONGEST_RETRY_AFTER_MS) : 0;
}

/** The name or code alone, because messages of network errors may hold the address. */
function nameOf(error: unknown): string {
  if (!(error instanceof Error)) return "unknown";
  if (error.name === "TimeoutError") return "no answer in time";
  return codeOf(error) ?? error.name;
}
