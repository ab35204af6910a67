import { expect, test } from "bun:test";
import { PrometheusWatch } from "../../shared/console/prometheus.ts";

/** As Prometheus 2.42 answers /api/v1/alerts. */
const ANSWER = {
  status: "success",
  data: {
    alerts: [
      {
        labels: { alertname: "HighConsumerLag", severity: "warning", topic: "user-events" },
        annotations: {
          summary: "The consumers are behind",
          description: "5810 records wait.",
          runbook_url: "https://pipeline.example/RUNBOOK.md#lag",
        },
        state: "firing",
        activeAt: "2026-03-14T09:26:53.123456789Z",
        value: "5.81e+03",
      },
      {
        labels: { alertname: "Odd", severity: "critical" },
        annotations: { runbook_url: "javascript:alert(1)" },
        state: "pending",
        activeAt: "",
        value: "1",
      },
      { labels: { alertname: "Quiet" }, annotations: {}, state: "inactive", value: "0" },
    ],
  },
};

async function watching(answer: (request: Request) => Response | Promise<Response>, credentials = "") {
  await using server = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: answer });
  const watch = new PrometheusWatch(`http://${credentials}127.0.0.1:${server.port}/prefix`);
  await watch.refresh();
  return watch.read();
}

test("a Prometheus watch has the pending and firing alerts", async () => {
  const paths: string[] = [];
  const { source, alerts } = await watching((request) => {
    paths.push(new URL(request.url).pathname);
    return Response.json(ANSWER);
  });
  expect(paths).toEqual(["/prefix/api/v1/alerts"]);
  expect(source).toMatchObject({ state: "current", reason: null });
  expect(alerts).toEqual([
    {
      name: "HighConsumerLag",
      state: "firing",
      severity: "warning",
      summary: "The consumers are behind",
      description: "5810 records wait.",
      sinceMs: Date.UTC(2026, 2, 14, 9, 26, 53, 123),
      runbook: "https://pipeline.example/RUNBOOK.md#lag",
      runbookUrl: "https://pipeline.example/RUNBOOK.md#lag",
    },
    {
      name: "Odd",
      state: "pending",
      severity: "critical",
      summary: "",
      description: "",
      sinceMs: null,
      runbook: "javascript:alert(1)",
      // Never a link.
      runbookUrl: null,
    },
  ]);
});

test("a Prometheus watch uses a user name and password, and does not show them", async () => {
  let authorization: string | null = null;
  const { url, source } = await watching((request) => {
    authorization = request.headers.get("authorization");
    return Response.json(ANSWER);
  }, "reader:s%40crt@");
  expect(source.state).toBe("current");
  expect(authorization as string | null).toBe(`Basic ${btoa("reader:s@crt")}`);
  expect(url).not.toContain("reader");
  expect(url).toEndWith("/prefix/");
});

test("a Prometheus watch drops old alerts when Prometheus fails", async () => {
  let isUp = true;
  await using server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    fetch: () => (isUp ? Response.json(ANSWER) : new Response("no", { status: 503 })),
  });
  const watch = new PrometheusWatch(server.url.href, 0);
  await watch.refresh();
  expect(watch.read().alerts).toHaveLength(2);
  isUp = false;
  await watch.refresh();
  expect(watch.read()).toMatchObject({
    source: { state: "away", reason: "it answered with status 503" },
    alerts: [],
  });
});

test("a Prometheus watch says why it has no answer", async () => {
  const closed = new PrometheusWatch("http://127.0.0.1:1");
  await closed.refresh();
  expect(closed.read().source).toMatchObject({ state: "away", reason: "connection refused" });
  const other = "the answer is not that of a Prometheus: another program may use this port";
  expect((await watching(() => new Response("<html>"))).source).toMatchObject({
    state: "away",
    reason: other,
  });
  expect(
    (await watching(() => Response.json({ status: "success", data: { alerts: [{}] } }))).source.reason,
  ).toBe(other);
  const long = (await watching(() => new Response("[".repeat(3_000_000)))).source;
  expect(long).toMatchObject({ state: "away", reason: "its answer is longer than 2 MB" });
  // In chunks, without a length.
  const endless = new Response(
    new ReadableStream({ pull: (controller) => controller.enqueue(new Uint8Array(100_000).fill(91)) }),
  );
  expect((await watching(() => endless)).source).toMatchObject({
    state: "away",
    reason: "its answer is longer than 2 MB",
  });
  const never = (await watching(() => new Promise<Response>(() => undefined))).source;
  expect(never).toMatchObject({ state: "away", reason: "no answer within 2 s" });
});

test("a Prometheus watch sends one request for all callers, and no second one at once", async () => {
  let requests = 0;
  await using server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    async fetch() {
      requests++;
      return Response.json(ANSWER);
    },
  });
  const watch = new PrometheusWatch(server.url.href);
  await Promise.all([watch.refresh(), watch.refresh(), watch.refresh()]);
  await watch.refresh();
  expect(requests).toBe(1);
});
