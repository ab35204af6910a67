import { expect, test } from "bun:test";
import type { Alert } from "../../shared/alerts/alerts.ts";
import { makeLogger } from "../../shared/telemetry/log.ts";
import { AlertWebhook } from "../../shared/alerts/webhook.ts";
import { webhookMessage } from "../../shared/alerts/webhook-message.ts";
import { eventually } from "../support/eventually.ts";
import { WebhookReceiver } from "../support/webhook-receiver.ts";

const SECRET = "T0SECRET";
const SOURCE = { job: "consumer", instance: "host:8002" };

const STARTED: Alert = {
  type: "high_consumer_lag",
  severity: "warning",
  summary: "this consumer is 1500 records behind, more than 1000",
  startedAtMs: Date.UTC(2026, 0, 1, 12),
  endedAtMs: undefined,
};
const ENDED: Alert = { ...STARTED, endedAtMs: Date.UTC(2026, 0, 1, 12, 1, 30) };

function numbered(n: number): Alert {
  return { ...STARTED, summary: `alert ${n}` };
}

function posting(port: number, timing: { answerDeadlineMs?: number; firstRetryMs?: number } = {}) {
  const lines: string[] = [];
  const log = makeLogger("test", "debug", { destination: { write: (line) => void lines.push(line) } });
  const url = `http://user:${SECRET}@127.0.0.1:${port}/services/${SECRET}`;
  const webhook = new AlertWebhook({ url, log, ...SOURCE, ...timing });
  return { webhook, lines, messages: () => lines.map((line) => (JSON.parse(line) as { msg: string }).msg) };
}

test("the webhook posts an alert when it starts and when it ends, in Alertmanager's and Slack's form", async () => {
  await using receiver = new WebhookReceiver();
  const { webhook, lines } = posting(receiver.port);
  webhook.post(STARTED);
  webhook.post(ENDED);
  await webhook.close();
  expect(receiver.contentTypes).toEqual(["application/json", "application/json"]);
  const labels = {
    alertname: "high_consumer_lag",
    severity: "warning",
    job: "consumer",
    instance: "host:8002",
  };
  const annotations = { summary: STARTED.summary };
  const [started, ended] = receiver.messages;
  expect(started).toEqual({
    text: "[FIRING] high_consumer_lag (warning), consumer on host:8002: this consumer is 1500 records behind, more than 1000",
    version: "4",
    groupKey: '{}:{alertname="high_consumer_lag", instance="host:8002", job="consumer"}',
    truncatedAlerts: 0,
    status: "firing",
    receiver: "event-pipeline",
    groupLabels: { alertname: "high_consumer_lag", job: "consumer", instance: "host:8002" },
    commonLabels: labels,
    commonAnnotations: annotations,
    externalURL: "",
    alerts: [
      {
        status: "firing",
        labels,
        annotations,
        startsAt: "2026-01-01T12:00:00.000Z",
        endsAt: "0001-01-01T00:00:00Z",
        generatorURL: "",
        fingerprint: expect.stringMatching(/^[0-9a-f]{16}$/) as string,
      },
    ],
  });
  expect(ended?.status).toBe("resolved");
  expect(ended?.text).toStartWith("[RESOLVED, after 90 s] high_consumer_lag (warning)");
  expect(ended?.alerts[0]).toEqual({
    ...started!.alerts[0]!,
    status: "resolved",
    endsAt: "2026-01-01T12:01:30.000Z",
  });
  expect(lines).toEqual([]);
});

test("the webhook message escapes Slack's control characters and limits the summary", () => {
  const message = webhookMessage({ ...STARTED, summary: "<!channel> & co" }, SOURCE);
  expect(message.text).toEndWith(": &lt;!channel&gt; &amp; co");
  expect(message.commonAnnotations["summary"]).toBe("<!channel> & co");
  expect(webhookMessage({ ...STARTED, summary: "x".repeat(1e6) }, SOURCE).text.length).toBeLessThan(1200);
});

test("the webhook retries a failing receiver until it accepts each alert, once and in order", async () => {
  await using receiver = new WebhookReceiver((n) => new Response("", { status: n <= 3 ? 500 : 200 }));
  const { webhook, lines, messages } = posting(receiver.port);
  for (let n = 1; n <= 3; n++) webhook.post(numbered(n));
  await eventually("all are posted", () => receiver.messages.length === 6);
  expect(receiver.summaries()).toEqual(["alert 1", "alert 1", "alert 1", "alert 1", "alert 2", "alert 3"]);
  await webhook.close();
  // Three attempts failed, which is logged once.
  expect(messages()).toEqual([
    "the alert webhook (ALERT_WEBHOOK_URL) does not answer; retrying",
    "the alert webhook is accepting alerts again",
  ]);
  expect(lines[0]).toContain('"reason":"HTTP status 500"');
  expect(lines.join("")).not.toContain(SECRET);
});

test("the webhook retries a receiver that is not up yet or does not answer, and logs it once", async () => {
  let port: number;
  {
    await using free = new WebhookReceiver();
    port = free.port;
  }
  const { webhook, lines, messages } = posting(port, { answerDeadlineMs: 300 });
  webhook.post(STARTED);
  await eventually("the failure is logged", () => lines.length === 1);
  expect(lines[0]).toMatch(/"reason":"\w+"/);
  const hanging = Promise.withResolvers<Response>();
  await using receiver = new WebhookReceiver((n) => (n <= 2 ? hanging.promise : new Response("ok")), port);
  await eventually("it is accepted", () => receiver.messages.length >= 3);
  await webhook.close();
  expect(messages()).toHaveLength(2);
  expect(lines.join("")).not.toContain(SECRET);
  hanging.resolve(new Response());
});

test("the webhook drops an alert that is refused, and posts the next one", async () => {
  await using receiver = new WebhookReceiver((n) =>
    n === 1
      ? new Response("no_text", { status: 400 })
      : n === 2
        ? Response.redirect("/x", 302)
        : new Response(),
  );
  const { webhook, messages } = posting(receiver.port);
  for (let n = 1; n <= 3; n++) webhook.post(numbered(n));
  await webhook.close();
  expect(receiver.summaries()).toEqual(["alert 1", "alert 2", "alert 3"]);
  expect(messages()).toEqual([
    "the alert webhook (ALERT_WEBHOOK_URL) refuses alerts; they are dropped",
    "the alert webhook is accepting alerts again",
  ]);
});

test("the webhook drops the oldest alerts of a full queue", async () => {
  const first = Promise.withResolvers<Response>();
  await using receiver = new WebhookReceiver((n) => (n === 1 ? first.promise : new Response()));
  const { webhook } = posting(receiver.port);
  for (let n = 0; n < 250; n++) webhook.post(numbered(n));
  await eventually("the first is under way", () => receiver.messages.length === 1);
  first.resolve(new Response());
  await webhook.close();
  expect(receiver.summaries()).toEqual([
    "alert 0",
    ...Array.from({ length: 100 }, (_, n) => `alert ${n + 150}`),
  ]);
});

test("closing the webhook gives up a receiver that does not answer, and logs how many alerts are left", async () => {
  const hanging = Promise.withResolvers<Response>();
  await using receiver = new WebhookReceiver(() => hanging.promise);
  const { webhook, lines } = posting(receiver.port, { answerDeadlineMs: 60_000 });
  webhook.post(STARTED);
  webhook.post(ENDED);
  await webhook.close();
  expect(receiver.messages).toHaveLength(1);
  expect(JSON.parse(lines.at(-1)!)).toMatchObject({
    alerts: 2,
    msg: "these alerts could not be posted to the alert webhook",
  });
  hanging.resolve(new Response());
});

test("the webhook waits as long as the receiver's Retry-After asks", async () => {
  const times: number[] = [];
  await using receiver = new WebhookReceiver((n) => {
    times.push(performance.now());
    return new Response("", n === 1 ? { status: 429, headers: { "Retry-After": "1" } } : {});
  });
  const { webhook } = posting(receiver.port);
  webhook.post(STARTED);
  await eventually("it is accepted", () => receiver.messages.length === 2);
  await webhook.close();
  // Without the header the first retry comes at once.
  expect(times[1]! - times[0]!).toBeGreaterThan(900);
});

test("closing the webhook retries at once", async () => {
  await using receiver = new WebhookReceiver((n) => new Response("", { status: n <= 2 ? 503 : 200 }));
  const { webhook, lines } = posting(receiver.port, { firstRetryMs: 10_000 });
  webhook.post(STARTED);
  // The first retry comes at once, the second would come after closing.
  await eventually("two attempts have failed", () => receiver.messages.length === 2);
  await webhook.close();
  expect(receiver.messages).toHaveLength(3);
  expect(lines.at(-1)).toContain("accepting alerts again");
});
