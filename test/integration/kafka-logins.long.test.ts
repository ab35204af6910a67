// Runs the pipeline on real brokers that want TLS, passwords, certificates or tokens.
import { expect } from "bun:test";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CertificateAuthority, whyNoOpenssl } from "../support/certificates.ts";
import { eventually } from "../support/eventually.ts";
import { KafkaCluster } from "../support/kafka.ts";
import { whyNoKafka } from "../support/kafka-artifacts.ts";
import { TestPipeline } from "../support/pipeline.ts";
import { startProducer } from "../support/process.ts";
import { clusterTest, requiring } from "../support/requirements.ts";

const CLIENT = "listener.name.client";

/** The listener of the clients gets this protocol; brokers and tools stay without. */
function clientProtocol(protocol: string): Record<string, string> {
  return { "listener.security.protocol.map": `CLIENT:${protocol},INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT` };
}

clusterTest(
  "OAUTHBEARER: tokens of 20 s are renewed without a redelivery",
  async () => {
    const folder = await mkdtemp(join(tmpdir(), "event-pipeline-oauth-"));
    try {
      await using kafka = await KafkaCluster.start({
        properties: {
          ...clientProtocol("SASL_PLAINTEXT"),
          "sasl.enabled.mechanisms": "OAUTHBEARER",
          [`${CLIENT}.oauthbearer.sasl.jaas.config`]:
            "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required;",
          [`${CLIENT}.oauthbearer.sasl.server.callback.handler.class`]:
            "org.apache.kafka.common.security.oauthbearer.internals.unsecured.OAuthBearerUnsecuredValidatorCallbackHandler",
          // The broker ends a connection whose token has expired.
          [`${CLIENT}.oauthbearer.connections.max.reauth.ms`]: "3600000",
        },
      });
      await kafka.createTopic("events", { partitions: 2 });
      const calls = join(folder, "calls");
      const script = join(folder, "token.ts");
      await writeFile(
        script,
        `const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
         const now = Math.floor(Date.now() / 1000);
         require("node:fs").appendFileSync(${JSON.stringify(calls)}, "x");
         console.log(part({ alg: "none" }) + "." + part({ sub: "app", iat: now, exp: now + 20 }) + ".");`,
      );
      await using pipeline = await TestPipeline.start({
        kafka: { bootstrapServers: kafka.internalServers, topic: "events" },
      });
      const env = {
        KAFKA_BOOTSTRAP_SERVERS: kafka.bootstrapServers,
        KAFKA_CONFIG_SECURITY_PROTOCOL: "SASL_PLAINTEXT",
        KAFKA_CONFIG_SASL_MECHANISMS: "OAUTHBEARER",
        KAFKA_OAUTH_TOKEN_COMMAND: `${process.execPath} ${script}`,
      };
      const consumer = pipeline.consumer({ ...env, CONSUMER_WORKERS: "1" });
      const port = await consumer.port();
      const called = async () => (await readFile(calls, "utf8").catch(() => "")).length;
      await pipeline.publish(1000);
      await pipeline.drained();
      const atFirst = await called();
      await eventually(
        "the token is renewed twice",
        async () => {
          await pipeline.publish(50);
          return (await called()) >= atFirst + 2;
        },
        { timeoutMs: 120_000, everyMs: 500 },
      );
      await pipeline.publish(1000);
      await pipeline.drained();
      const scrape = await consumer.program.metrics(port, "all is counted", (found) => {
        return found.value("events_consumed_total") === pipeline.published.records;
      });
      expect(scrape.value("records_fetched_total")).toBe(pipeline.published.records);
      expect(scrape.find("resyncs_total").reduce((sum, { value }) => sum + value, 0)).toBeLessThanOrEqual(1);
      await consumer.drain();
      expect(await pipeline.ledger()).toMatchObject({
        exitCode: 0,
        violated: [],
        accounted: pipeline.published,
      });

      const failing = { ...env, KAFKA_OAUTH_TOKEN_COMMAND: "echo no account >&2; exit 1" };
      await using refused = startProducer(
        { bootstrapServers: kafka.bootstrapServers, topic: "events" },
        failing,
      );
      expect(await refused.exit()).toBe(1);
      expect(refused.stderr).toContain(
        "the command of KAFKA_OAUTH_TOKEN_COMMAND ended with exit code 1: no account",
      );
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  },
  240_000,
);

requiring("openssl and a separate Kafka cluster", whyNoOpenssl() ?? whyNoKafka())(
  "SASL_SSL: SCRAM over TLS with a client's certificate, and one sentence for what is missing",
  async () => {
    const folder = await mkdtemp(join(tmpdir(), "event-pipeline-tls-"));
    try {
      const authority = await CertificateAuthority.make();
      const server = await authority.sign({ name: "broker", hosts: "DNS:localhost,IP:127.0.0.1" });
      const client = await authority.sign({ name: "app" });
      const keystore = join(folder, "broker.pem");
      await writeFile(
        keystore,
        [await readFile(server.key, "utf8"), await readFile(server.certificate, "utf8")].join(""),
      );
      await using kafka = await KafkaCluster.start({
        users: { app: "app-secret" },
        properties: {
          ...clientProtocol("SASL_SSL"),
          [`${CLIENT}.ssl.keystore.type`]: "PEM",
          [`${CLIENT}.ssl.keystore.location`]: keystore,
          [`${CLIENT}.ssl.truststore.type`]: "PEM",
          [`${CLIENT}.ssl.truststore.location`]: authority.certificate,
          [`${CLIENT}.ssl.client.auth`]: "required",
        },
      });
      await kafka.createTopic("events", { partitions: 2 });
      await using pipeline = await TestPipeline.start({
        kafka: { bootstrapServers: kafka.internalServers, topic: "events" },
      });
      await pipeline.publish(1000);
      const env: Record<string, string> = {
        KAFKA_BOOTSTRAP_SERVERS: kafka.bootstrapServers,
        KAFKA_CONFIG_SECURITY_PROTOCOL: "SASL_SSL",
        KAFKA_CONFIG_SASL_MECHANISMS: "SCRAM-SHA-256",
        KAFKA_CONFIG_SASL_USERNAME: "app",
        KAFKA_CONFIG_SASL_PASSWORD: "app-secret",
        KAFKA_CONFIG_SSL_CA_LOCATION: authority.certificate,
        KAFKA_CONFIG_SSL_CERTIFICATE_LOCATION: client.certificate,
        KAFKA_CONFIG_SSL_KEY_LOCATION: client.key,
      };
      const consumer = pipeline.consumer(env);
      await pipeline.drained();
      await consumer.drain();
      expect(await pipeline.ledger()).toMatchObject({
        exitCode: 0,
        violated: [],
        accounted: pipeline.published,
      });

      const failure = async (change: Record<string, string>) => {
        const target = { bootstrapServers: kafka.bootstrapServers, topic: "events" };
        await using producer = startProducer(target, { ...env, ...change });
        expect(await producer.exit()).toBe(1);
        return producer.stderr;
      };
      const other = await CertificateAuthority.make("Another authority");
      const [untrusted, wrongPassword, plain] = await Promise.all([
        failure({ KAFKA_CONFIG_SSL_CA_LOCATION: other.certificate }),
        failure({ KAFKA_CONFIG_SASL_PASSWORD: "wrong" }),
        failure({ KAFKA_CONFIG_SECURITY_PROTOCOL: "SASL_PLAINTEXT" }),
      ]);
      expect(untrusted).toMatch(/^cannot open a TLS connection to Kafka at [^\n]*certificate[^\n]*\n$/);
      expect(wrongPassword).toMatch(/^Kafka at \S+ refuses the credentials: [^\n]*\n$/);
      expect(plain).toMatch(/^no Kafka broker answers at [^\n]*KAFKA_CONFIG_SECURITY_PROTOCOL[^\n]*\n$/);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  },
  240_000,
);
