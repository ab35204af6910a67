import { expect } from "bun:test";
import { eventually } from "./eventually.ts";
import { startPrometheus } from "./prometheus.ts";
import { prometheusTest } from "./requirements.ts";

prometheusTest(
  "a test Prometheus scrapes its targets, answers queries, shows alerts, and stops",
  async () => {
    let lag = 5;
    using target = Bun.serve({
      port: 0,
      hostname: "127.0.0.1",
      fetch: () => new Response(`lag{topic="a"} ${lag}\nlag{topic="b"} +Inf\n`),
    });
    const address = `127.0.0.1:${target.port}`;
    await using prometheus = await startPrometheus({
      consumers: [address],
      scrapeIntervalMs: 100,
      rules: () => `
groups:
  - name: test
    rules:
      - alert: Lags
        expr: lag{topic="a"} > 5
        labels: { severity: warning }
        annotations: { summary: "{{ $value }} behind" }
`,
    });
    await eventually("both series are there", async () => (await prometheus.query("lag")).length === 2);
    expect(await prometheus.query('lag{topic="a"}')).toEqual([
      { labels: { __name__: "lag", job: "consumer", instance: address, topic: "a" }, value: 5 },
    ]);
    expect(await prometheus.query('lag{topic="b"} > 0')).toMatchObject([{ value: Number.POSITIVE_INFINITY }]);
    expect(await prometheus.query("scalar(lag{topic='a'})")).toEqual([{ labels: {}, value: 5 }]);
    await expect(prometheus.query("lag[1m]")).rejects.toThrow("matrix");
    await expect(prometheus.query("sum(")).rejects.toThrow("sum(: invalid parameter");
    expect(await prometheus.alerts()).toEqual([]);

    lag = 6;
    const [alert] = await eventually("the alert is on", async () => {
      const alerts = await prometheus.alerts();
      return alerts.length > 0 && alerts;
    });
    expect(alert).toMatchObject({
      name: "Lags",
      labels: { severity: "warning" },
      annotations: { summary: "6 behind" },
    });
    lag = 5;
    await eventually("the alert is over", async () => (await prometheus.alerts()).length === 0);

    await prometheus.stop();
    await expect(fetch(prometheus.url)).rejects.toThrow();
  },
);

prometheusTest("a test Prometheus throws Prometheus' message when the rules are invalid", async () => {
  await expect(
    startPrometheus({ rules: () => "groups: [{ name: test, rules: [{ alert: A, expr: 'sum(' }] }]" }),
  ).rejects.toThrow(/did not start[^]*could not parse expression/);
});
