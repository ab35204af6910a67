// Starts both programs with CONSOLE=off, before they have reached Kafka and PostgreSQL.
import { expect, test } from "bun:test";
import { freePorts } from "../../shared/runtime/free-port.ts";
import { Program } from "../support/process.ts";

test.each(["consumer", "producer"])(
  "with CONSOLE=off the %s serves metrics and health, and neither a page nor /api",
  async (name) => {
    const [port = 0, closed = 0] = await freePorts(2);
    await using program = Program.start(`workers/${name}.ts`, {
      env: {
        CONSOLE: "off",
        DB_HOST: "127.0.0.1",
        DB_PORT: String(closed),
        KAFKA_BOOTSTRAP_SERVERS: `127.0.0.1:${closed}`,
        [`METRICS_PORT_${name.toUpperCase()}`]: String(port),
      },
    });
    await program.printed(/"console":"off","msg":"serving \/metrics/);
    const status = async (path: string) => (await fetch(`http://127.0.0.1:${port}${path}`)).status;
    const paths = ["/metrics", "/healthz", "/readyz", "/console.js", "/events", "/api", "/api/status"];
    expect(await Promise.all(paths.map(status))).toEqual([200, 200, 503, 404, 404, 404, 404]);
    expect(await (await fetch(`http://127.0.0.1:${port}/`)).text()).toBe("/metrics\n/healthz\n/readyz\n");
  },
  60_000,
);
