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

async function asked(answer: (request: Request) => Response | Promise<Response>, credentials = "") {
  await using server = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: answer });
  const watch = new PrometheusWatch(`http://${credentials}127.0.0.1:${server.port}/prefix`);
  await watch.refresh();
  return watch.read();
}

test("its alerts, those that are on", async () => {
  const paths: string[] = [];
  const { source, alerts } = await asked((request) => {
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

test("a name and password are used, and not shown", async () => {
  let authorization: string | null = null;
  const { url, source } = await asked((request) => {
    authorization = request.headers.get("authorization");
    return Response.json(ANSWER);
  }, "reader:s%40crt@");
  expect(source.state).toBe("current");
  expect(authorization as string | null).toBe(`Basic ${btoa("reader:s@crt")}`);
  expect(url).not.toContain("reader");
  expect(url).toEndWith("/prefix/");
});

test("away, with the reason, and without what was true before", async () => {
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
    source: { state: "away", reason: "it answers with status 503" },
    alerts: [],
  });
});

test("nobody there, another program, a wrong shape, an answer that never ends", async () => {
  const nobody = new PrometheusWatch("http://127.0.0.1:1");
  await nobody.refresh();
  expect(nobody.read().source).toMatchObject({ state: "away", reason: "nothing listens there" });
  const other = "its answer is not Prometheus's: is there another program?";
  expect((await asked(() => new Response("<html>"))).source).toMatchObject({ state: "away", reason: other });
  expect(
    (await asked(() => Response.json({ status: "success", data: { alerts: [{}] } }))).source.reason,
  ).toBe(other);
  const long = (await asked(() => new Response("[".repeat(3_000_000)))).source;
  expect(long).toMatchObject({ state: "away", reason: "its answer is too long" });
  const never = (await asked(() => new Promise<Response>(() => undefined))).source;
  expect(never).toMatchObject({ state: "away", reason: "it has not answered within 2 s" });
});

test("it is asked once by all who look at the same time, and not again at once", async () => {
  let asks = 0;
  await using server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    async fetch() {
      asks++;
      return Response.json(ANSWER);
    },
  });
  const watch = new PrometheusWatch(server.url.href);
  await Promise.all([watch.refresh(), watch.refresh(), watch.refresh()]);
  await watch.refresh();
  expect(asks).toBe(1);
});
