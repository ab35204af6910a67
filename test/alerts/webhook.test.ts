import { expect, test } from "bun:test";
import type { Alert } from "../../shared/alerts/alerts.ts";
import { makeLogger } from "../../shared/telemetry/log.ts";
import { AlertWebhook } from "../../shared/alerts/webhook.ts";
import { webhookMessage } from "../../shared/alerts/webhook-message.ts";
import { eventually } from "../support/eventually.ts";
import { WebhookReceiver } from "../support/webhook-receiver.ts";

const SECRET = "T0SECRET";
const SOURCE = { job: "consumer", instance: "host:8002" };

const BEGUN: Alert = {
  type: "high_consumer_lag",
  severity: "warning",
  summary: "this consumer is 1500 records behind, more than 1000",
  startedAtMs: Date.UTC(2026, 0, 1, 12),
  endedAtMs: undefined,
};
const ENDED: Alert = { ...BEGUN, endedAtMs: Date.UTC(2026, 0, 1, 12, 1, 30) };

function numbered(n: number): Alert {
  return { ...BEGUN, summary: `alert ${n}` };
}

function posting(port: number, timing: { answerDeadlineMs?: number; firstRetryMs?: number } = {}) {
  const lines: string[] = [];
  const log = makeLogger("test", "debug", { destination: { write: (line) => void lines.push(line) } });
  const url = `http://user:${SECRET}@127.0.0.1:${port}/services/${SECRET}`;
  const webhook = new AlertWebhook({ url, log, ...SOURCE, ...timing });
  return { webhook, lines, messages: () => lines.map((line) => (JSON.parse(line) as { msg: string }).msg) };
}

test("an alert is posted when it begins and when it ends, as Alertmanager and Slack say it", async () => {
  await using there = new WebhookReceiver();
  const { webhook, lines } = posting(there.port);
  webhook.post(BEGUN);
  webhook.post(ENDED);
  await webhook.close();
  expect(there.contentTypes).toEqual(["application/json", "application/json"]);
  const labels = {
    alertname: "high_consumer_lag",
    severity: "warning",
    job: "consumer",
    instance: "host:8002",
  };
  const annotations = { summary: BEGUN.summary };
  const [begun, ended] = there.messages;
  expect(begun).toEqual({
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
    ...begun!.alerts[0]!,
    status: "resolved",
    endsAt: "2026-01-01T12:01:30.000Z",
  });
  expect(lines).toEqual([]);
});

test("Slack's control characters are escaped in the text, and the summary stays within a bound", () => {
  const message = webhookMessage({ ...BEGUN, summary: "<!channel> & co" }, SOURCE);
  expect(message.text).toEndWith(": &lt;!channel&gt; &amp; co");
  expect(message.commonAnnotations["summary"]).toBe("<!channel> & co");
  expect(webhookMessage({ ...BEGUN, summary: "x".repeat(1e6) }, SOURCE).text.length).toBeLessThan(1200);
});

test("a receiver that fails is tried again until it takes the alert: none lost, none twice, in order", async () => {
  await using there = new WebhookReceiver((n) => new Response("", { status: n <= 3 ? 500 : 200 }));
  const { webhook, lines, messages } = posting(there.port);
  for (let n = 1; n <= 3; n++) webhook.post(numbered(n));
  await eventually("all are posted", () => there.messages.length === 6);
  expect(there.summaries()).toEqual(["alert 1", "alert 1", "alert 1", "alert 1", "alert 2", "alert 3"]);
  await webhook.close();
  // Three tries failed; that is said once.
  expect(messages()).toEqual([
    "the alert webhook (ALERT_WEBHOOK_URL) does not answer; trying again",
    "the alert webhook takes alerts again",
  ]);
  expect(lines[0]).toContain('"reason":"HTTP status 500"');
  expect(lines.join("")).not.toContain(SECRET);
});

test("one that is not there yet, or hangs, gets it later; nobody waits, and it is said once", async () => {
  let port: number;
  {
    await using free = new WebhookReceiver();
    port = free.port;
  }
  const { webhook, lines, messages } = posting(port, { answerDeadlineMs: 100 });
  webhook.post(BEGUN);
  await eventually("it is said", () => lines.length === 1);
  expect(lines[0]).toMatch(/"reason":"\w+"/);
  const hanging = Promise.withResolvers<Response>();
  await using there = new WebhookReceiver((n) => (n <= 2 ? hanging.promise : new Response("ok")), port);
  await eventually("it is taken", () => there.messages.length === 3);
  await webhook.close();
  expect(messages()).toHaveLength(2);
  expect(lines.join("")).not.toContain(SECRET);
  hanging.resolve(new Response());
});

test("one that refuses is not asked again, and the next alert still goes out", async () => {
  await using there = new WebhookReceiver((n) =>
    n === 1
      ? new Response("no_text", { status: 400 })
      : n === 2
        ? Response.redirect("/x", 302)
        : new Response(),
  );
  const { webhook, messages } = posting(there.port);
  for (let n = 1; n <= 3; n++) webhook.post(numbered(n));
  await webhook.close();
  expect(there.summaries()).toEqual(["alert 1", "alert 2", "alert 3"]);
  expect(messages()).toEqual([
    "the alert webhook (ALERT_WEBHOOK_URL) refuses alerts; they are dropped",
    "the alert webhook takes alerts again",
  ]);
});

test("of a full queue the oldest go", async () => {
  const first = Promise.withResolvers<Response>();
  await using there = new WebhookReceiver((n) => (n === 1 ? first.promise : new Response()));
  const { webhook } = posting(there.port);
  for (let n = 0; n < 250; n++) webhook.post(numbered(n));
  await eventually("the first is under way", () => there.messages.length === 1);
  first.resolve(new Response());
  await webhook.close();
  expect(there.summaries()).toEqual([
    "alert 0",
    ...Array.from({ length: 100 }, (_, n) => `alert ${n + 150}`),
  ]);
});

test("closing waits for a receiver that hangs no longer than its bound, and says what was not told", async () => {
  const hanging = Promise.withResolvers<Response>();
  await using there = new WebhookReceiver(() => hanging.promise);
  const { webhook, lines } = posting(there.port, { answerDeadlineMs: 60_000 });
  webhook.post(BEGUN);
  webhook.post(ENDED);
  await webhook.close();
  expect(there.messages).toHaveLength(1);
  expect(JSON.parse(lines.at(-1)!)).toMatchObject({
    alerts: 2,
    msg: "the alert webhook was not told of these alerts",
  });
  hanging.resolve(new Response());
});

test("closing tries at once what was waiting for its next try", async () => {
  await using there = new WebhookReceiver((n) => new Response("", { status: n <= 2 ? 503 : 200 }));
  const { webhook, lines } = posting(there.port, { firstRetryMs: 10_000 });
  webhook.post(BEGUN);
  // The first retry comes at once, the second after more time than closing has.
  await eventually("two tries have failed", () => there.messages.length === 2);
  await webhook.close();
  expect(there.messages).toHaveLength(3);
  expect(lines.at(-1)).toContain("takes alerts again");
});
