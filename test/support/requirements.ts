// Registers tests that need something of the machine: skipped with the reason where it is missing, failed in CI.
import { test } from "bun:test";
import { whyNoChromium } from "./browser.ts";
import { whyNoOpenssl } from "./certificates.ts";
import { whyNoKafka } from "./kafka-artifacts.ts";
import { whyNoPgBouncer } from "./pgbouncer.ts";
import { whyNoPrometheus } from "./prometheus.ts";
import { whyNoSharedKafka } from "./shared-kafka.ts";

type TestFunction = (name: string, run: () => void | Promise<unknown>, timeoutMs?: number) => void;

/** A test against the broker that all tests of a run share; see `sharedKafka()`. */
export const kafkaTest: TestFunction = requiring("Kafka", whyNoSharedKafka());

/** A test with a separate cluster, whose brokers it may end; see `KafkaCluster`. */
export const clusterTest: TestFunction = requiring("a separate Kafka cluster", whyNoKafka());

/** A test in a real browser; see test/support/browser.ts. */
export const browserTest: TestFunction = requiring(
  "Chromium and Kafka",
  whyNoChromium() ?? whyNoSharedKafka(),
);

/** A test that makes certificates; see test/support/certificates.ts. */
export const tlsTest: TestFunction = requiring("openssl", whyNoOpenssl());

/** A test that connects through PgBouncer. */
export const poolerTest: TestFunction = requiring("PgBouncer", whyNoPgBouncer());

/** A test that runs prometheus or promtool. */
export const prometheusTest: TestFunction = requiring("Prometheus", whyNoPrometheus());

/** A test in which Prometheus scrapes running programs. */
export const monitoringTest: TestFunction = requiring(
  "Kafka and Prometheus",
  whyNoSharedKafka() ?? whyNoPrometheus(),
);

/**
 * @param what the requirement, for the name of a skipped test
 * @param missing why it is missing; undefined = it is present
 */
export function requiring(
  what: string,
  missing: string | undefined,
  { ci = process.env["CI"] === "true", register = test }: RequiringOptions = {},
): TestFunction {
  if (missing === undefined) return (name, run, timeoutMs) => register(name, run, timeoutMs);
  const reason = `needs ${what}: ${missing}`;
  if (!ci) return (name, run) => register.skip(`${name} [skipped, ${reason}]`, run);
  return (name) =>
    register(name, () => {
      throw new Error(`No test is skipped in CI, and this one ${reason}.`);
    });
}

interface RequiringOptions {
  ci?: boolean;
  register?: Registrar;
}

interface Registrar {
  (name: string, run: () => void | Promise<unknown>, timeoutMs?: number): void;
  skip(name: string, run: () => void | Promise<unknown>): void;
}
