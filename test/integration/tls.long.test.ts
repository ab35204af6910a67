// Runs the consumer and check over TLS, with certificates that go wrong at the start and while the consumer runs.
import { expect, setDefaultTimeout } from "bun:test";
import { type Certificate, CertificateAuthority, whyNoOpenssl } from "../support/certificates.ts";
import { eventually } from "../support/eventually.ts";
import { TestPipeline } from "../support/pipeline.ts";
import { startPostgres } from "../support/postgres.ts";
import { stopTls, useTls } from "../support/postgres-tls.ts";
import { Program } from "../support/process.ts";
import { requiring } from "../support/requirements.ts";
import { whyNoSharedKafka } from "../support/shared-kafka.ts";

const tlsPipelineTest = requiring("openssl and Kafka", whyNoOpenssl() ?? whyNoSharedKafka());
setDefaultTimeout(180_000);

tlsPipelineTest(
  "a consumer waits, with an alert, while the certificate or the TLS of its database is wrong",
  async () => {
    await using server = await startPostgres();
    await using database = await server.database();
    await using pipeline = await TestPipeline.start({ database });
    const authority = await CertificateAuthority.make();
    const stranger = await CertificateAuthority.make("Somebody else");
    const hosts = "DNS:localhost,IP:127.0.0.1";
    const right = await authority.sign({ name: "server", hosts });
    const wrong: [says: string, certificate: Certificate | undefined][] = [
      [
        "certificate is not accepted.*expired",
        await authority.sign({ name: "server", hosts, isExpired: true }),
      ],
      ["certificate is not accepted.*unable to verify", await stranger.sign({ name: "server", hosts })],
      [
        "certificate is not accepted.*does not match",
        await authority.sign({ name: "server", hosts: "DNS:db" }),
      ],
      ["the server has no TLS, and DB_SSLMODE=verify-full needs it", undefined],
    ];
    const use = (certificate: Certificate | undefined) =>
      certificate === undefined ? stopTls(server) : useTls(server, { server: certificate });
    const env = { ...database.env, DB_SSLMODE: "verify-full", DB_SSLROOTCERT: authority.certificate };

    for (const [says, certificate] of wrong) {
      await use(certificate);
      for (const script of ["workers/consumer.ts", "workers/check.ts"]) {
        await using program = Program.start(script, {
          env: { ...env, METRICS_PORT_CONSUMER: "0", KAFKA_BOOTSTRAP_SERVERS: pipeline.bootstrapServers },
        });
        expect({ code: await program.exit(), stderr: program.stderr }).toEqual({
          code: 1,
          stderr: expect.stringMatching(new RegExp(`^PostgreSQL at [^\\n]*${says}[^\\n]*\\n$`)),
        });
      }
    }

    await use(right);
    await pipeline.publish(1000);
    const consumer = pipeline.consumer(env);
    await pipeline.drained();
    const [row] = await database.sql`
    select count(*)::int as sessions, bool_and(ssl) as encrypted
    from pg_stat_ssl join pg_stat_activity using (pid) where application_name like 'event-pipeline %'`;
    expect(row).toEqual({ sessions: 3, encrypted: true });
    const ready = `http://127.0.0.1:${await consumer.port()}/readyz`;
    // Each alert takes 15 s to begin and to end.
    for (const [index, [says, certificate]] of [wrong[0]!, wrong[3]!].entries()) {
      await use(certificate);
      await database.sql`
      select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'event-pipeline %'`;
      await pipeline.publish(1000);
      await eventually("/readyz says what is wrong", async () => {
        const answer = await fetch(ready);
        return answer.status === 503 && new RegExp(says).test(await answer.text());
      });
      await eventually("an alert says it", async () => {
        const alerts = await consumer.total("alerts_fired_total");
        return alerts > index && new RegExp(`db_connection_failure.*${says}`).test(consumer.program.stdout);
      });
      await use(right);
      await pipeline.drained();
      await eventually("it is ready, and the alert is over", async () => {
        const over = consumer.program.stdout.match(/alert over/g)?.length ?? 0;
        return (await fetch(ready)).ok && over > index;
      });
    }
    await consumer.drain();
    expect(consumer.program.stderr).toBe("");
    expect(await pipeline.ledger()).toEqual({ exitCode: 0, violated: [], accounted: pipeline.published });
  },
);
