// Alerts in; each posted when it begins and when it ends, in the background, to an operator's address out.

import { Backoff } from "../runtime/backoff.ts";
import { codeOf } from "../runtime/errors.ts";
import { Notifier } from "../runtime/notifier.ts";
import type { Alert } from "./alerts.ts";
import type { Logger } from "../telemetry/log.ts";
import { webhookMessage } from "./webhook-message.ts";

/** Beyond this many the oldest go. */
const QUEUE_LIMIT = 100;
const ANSWER_DEADLINE_MS = 5000;
const FIRST_RETRY_MS = 500;
const LAST_RETRY_MS = 15_000;
const CLOSE_DEADLINE_MS = 3000;
/** Refusals that are about the moment and not about the message. */
const PASSING_STATUSES: ReadonlySet<number> = new Set([408, 425, 429]);

export interface WebhookOptions {
  /** A secret: it stands in no line of the log. */
  readonly url: string;
  /** The program ("consumer") and where it runs ("host:8002"), for whoever reads the message. */
  readonly job: string;
  readonly instance: string;
  readonly log: Logger;
  /** How long a receiver may take to answer; by default 5 s. */
  readonly answerDeadlineMs?: number;
  /** How long after two failures in a row the next try comes; it doubles from there. By default 0.5 s. */
  readonly firstRetryMs?: number;
}

/** What came of one try: `failed` is tried again, `refused` is not. */
interface Outcome {
  readonly kind: "taken" | "failed" | "refused";
  /** For the log. The receiver's own words are left out: they may quote the address. */
  readonly reason: string;
}

/**
 * Posts alerts one after the other, each until it is taken or refused. Nobody waits for it: what cannot be posted
 * queues up, within a bound. That it cannot is logged once, and once that it can again.
 */
export class AlertWebhook {
  readonly #options: WebhookOptions;
  readonly #queue: Alert[] = [];
  readonly #backoff: Backoff;
  readonly #wake = new Notifier();
  readonly #abort = new AbortController();
  #posting: Promise<void> | undefined;
  #isClosing = false;
  #lastOutcome: Outcome["kind"] = "taken";

  constructor(options: WebhookOptions) {
    this.#options = options;
    this.#backoff = new Backoff(options.firstRetryMs ?? FIRST_RETRY_MS, LAST_RETRY_MS);
  }

  /** Queues an alert that has begun or ended. Returns at once. */
  post(alert: Alert): void {
    this.#queue.push(alert);
    if (this.#queue.length > QUEUE_LIMIT) this.#queue.shift();
    this.#posting ??= this.#postAll().finally(() => (this.#posting = undefined));
  }

  /** Goes on with what is queued for three more seconds at most. Never rejects. */
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
    if (left > 0) this.#options.log.warn({ alerts: left }, "the alert webhook was not told of these alerts");
  }

  async #postAll(): Promise<void> {
    for (let alert = this.#queue[0]; alert !== undefined; alert = this.#queue[0]) {
      const outcome = await this.#try(alert);
      if (this.#abort.signal.aborted && outcome.kind !== "taken") return;
      this.#say(outcome);
      if (outcome.kind === "failed") {
        await this.#wake.wait(this.#isClosing ? FIRST_RETRY_MS : this.#backoff.next());
        continue;
      }
      this.#backoff.reset();
      // A full queue may have dropped it meanwhile.
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
        // Followed, a POST would become a GET that says nothing.
        redirect: "manual",
        signal: AbortSignal.any([AbortSignal.timeout(answerDeadlineMs), this.#abort.signal]),
      });
      await answer.body?.cancel();
      const reason = `HTTP status ${answer.status}`;
      if (answer.ok) return { kind: "taken", reason };
      const mayPass = answer.status >= 500 || PASSING_STATUSES.has(answer.status);
      return { kind: mayPass ? "failed" : "refused", reason };
    } catch (error) {
      return { kind: "failed", reason: nameOf(error) };
    }
  }

  #say({ kind, reason }: Outcome): void {
    const { log } = this.#options;
    if (kind === this.#lastOutcome) return;
    this.#lastOutcome = kind;
    switch (kind) {
      case "taken":
        return log.info("the alert webhook takes alerts again");
      case "failed":
        return log.warn({ reason }, "the alert webhook (ALERT_WEBHOOK_URL) does not answer; trying again");
      case "refused":
        return log.error(
          { reason },
          "the alert webhook (ALERT_WEBHOOK_URL) refuses alerts; they are dropped",
        );
    }
  }
}

/** Its name or code alone: messages of network errors may hold the address. */
function nameOf(error: unknown): string {
  if (!(error instanceof Error)) return "unknown";
  if (error.name === "TimeoutError") return "no answer in time";
  return codeOf(error) ?? error.name;
}
