import { expect, test } from "bun:test";
import { loadConfig } from "../../shared/config/config.ts";

/** What Kubernetes puts into a container for a service of this name. */
function kubernetesService(name: string): Record<string, string> {
  const at = { host: "10.0.0.7", port: "5432" };
  return {
    [`${name}_SERVICE_HOST`]: at.host,
    [`${name}_SERVICE_PORT`]: at.port,
    [`${name}_SERVICE_PORT_HTTP`]: at.port,
    [`${name}_PORT`]: `tcp://${at.host}:${at.port}`,
    [`${name}_PORT_${at.port}_TCP`]: `tcp://${at.host}:${at.port}`,
    [`${name}_PORT_${at.port}_TCP_PROTO`]: "tcp",
    [`${name}_PORT_${at.port}_TCP_PORT`]: at.port,
    [`${name}_PORT_${at.port}_TCP_ADDR`]: at.host,
  };
}

test.each(["DB", "KAFKA", "KAFKA_CONFIG", "PRODUCER", "CONSUMER", "METRICS", "PROMETHEUS", "ALERT", "HTTP"])(
  "the variables of a service called %s change nothing and cause no warning",
  (name) => {
    expect(loadConfig(kubernetesService(name), "consumer")).toEqual(loadConfig({}, "consumer"));
  },
);

test("the variables of a Docker link called db change nothing", () => {
  const link = { ...kubernetesService("DB"), DB_NAME: "/consumer/db" };
  expect(loadConfig(link, "consumer")).toEqual(loadConfig({}, "consumer"));
});

test("a port and a name beside those of a service are read", () => {
  const { database } = loadConfig(
    { ...kubernetesService("DB"), DB_PORT: "6432", DB_NAME: "events" },
    "consumer",
  );
  expect(database).toMatchObject({ port: 6432, name: "events" });
});
