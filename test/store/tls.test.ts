// Connects with every mode of DB_SSLMODE to a server whose certificates are right or wrong.
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { join } from "node:path";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import type { DatabaseConfig } from "../../shared/config/config.ts";
import { classify } from "../../shared/store/sqlstate.ts";
import { type Certificate, CertificateAuthority } from "../support/certificates.ts";
import { type PostgresServer, startPostgres, type TestDatabase } from "../support/postgres.ts";
import { stopTls, useTls } from "../support/postgres-tls.ts";
import { rejection } from "../support/rejection.ts";
import { tlsTest } from "../support/requirements.ts";
import { emptyDatabase, openSession } from "./pipeline-database.ts";

setDefaultTimeout(60_000);

const THIS_MACHINE = "DNS:localhost,IP:127.0.0.1";
const MODES = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] as const;

interface TlsServer extends AsyncDisposable {
  readonly server: PostgresServer;
  readonly database: TestDatabase;
  readonly authority: CertificateAuthority;
  readonly stranger: CertificateAuthority;
  /** Opens a session as a user who has a password. @returns "tls", "plain", or the error's kind and message */
  outcome(changes: Partial<DatabaseConfig>): Promise<string>;
}

async function tlsServer(): Promise<TlsServer> {
  const server = await startPostgres();
  const database = await server.database();
  await database.sql`create role app login password 'secret'`;
  return {
    server,
    database,
    authority: await CertificateAuthority.make(),
    stranger: await CertificateAuthority.make("Somebody else"),
    async outcome(changes) {
      const config = {
        ...database.config,
        sslRootCert: undefined,
        user: "app",
        password: "secret",
        ...changes,
      };
      try {
        const session = await openSession({ config });
        const [row] = await session.sql`select ssl from pg_stat_ssl where pid = pg_backend_pid()`;
        session.destroy();
        return row?.["ssl"] ? "tls" : "plain";
      } catch (error) {
        return `${classify(error)}: ${(error as Error).message}`;
      }
    },
    async [Symbol.asyncDispose]() {
      await database[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    },
  };
}

describe("DB_SSLMODE", () => {
  tlsTest("encrypts where it may or must, and says that a server has no TLS", async () => {
    await using trial = await tlsServer();
    const { server, authority } = trial;
    const outcomes = async () => {
      const found: Record<string, string> = {};
      for (const sslMode of MODES)
        found[sslMode] = await trial.outcome({ sslMode, sslRootCert: authority.certificate });
      return found;
    };
    const lacking = (mode: string) => `access: the server has no TLS, and DB_SSLMODE=${mode} needs it`;
    await stopTls(server);
    expect(await outcomes()).toEqual({
      disable: "plain",
      allow: "plain",
      prefer: "plain",
      require: lacking("require"),
      "verify-ca": lacking("verify-ca"),
      "verify-full": lacking("verify-full"),
    });

    await useTls(server, { server: await authority.sign({ name: "server", hosts: THIS_MACHINE }) });
    expect(await outcomes()).toEqual({
      disable: expect.stringMatching(/^access: no pg_hba.conf entry .*no encryption/),
      allow: "tls",
      prefer: "tls",
      require: "tls",
      "verify-ca": "tls",
      "verify-full": "tls",
    });
  });

  tlsTest("verifies the certificate, and says what is wrong with it", async () => {
    await using trial = await tlsServer();
    const { server, authority, stranger } = trial;
    const refused = (what: string) =>
      expect.stringMatching(
        new RegExp(`^access: the server's certificate is not accepted: ${what}.*DB_SSLROOTCERT`),
      );
    const certificates: [certificate: Certificate, byAuthority: unknown, byName: unknown][] = [
      [
        await authority.sign({ name: "server", hosts: THIS_MACHINE, isExpired: true }),
        refused(".*expired"),
        refused(".*expired"),
      ],
      [
        await stranger.sign({ name: "server", hosts: THIS_MACHINE }),
        refused("unable to verify"),
        refused("unable to verify"),
      ],
      [
        await authority.sign({ name: "server", hosts: "DNS:db.example,IP:10.0.0.1" }),
        "tls",
        refused("Hostname/IP does not match"),
      ],
    ];
    for (const [certificate, byAuthority, byName] of certificates) {
      await useTls(server, { server: certificate });
      for (const host of ["127.0.0.1", "localhost"]) {
        const outcome = (sslMode: DatabaseConfig["sslMode"]) =>
          trial.outcome({ host, sslMode, sslRootCert: authority.certificate });
        expect(await outcome("verify-ca")).toEqual(byAuthority as string);
        expect(await outcome("verify-full")).toEqual(byName as string);
      }
    }
    // A private authority is trusted only by clients that name it.
    await useTls(server, { server: await authority.sign({ name: "server", hosts: THIS_MACHINE }) });
    expect(await trial.outcome({ sslMode: "verify-full" })).toEqual(refused("unable to verify"));
  });

  tlsTest("shows the client's certificate, read again for each connection", async () => {
    await using trial = await tlsServer();
    const { server, authority, stranger } = trial;
    const certificate = await authority.sign({ name: "server", hosts: THIS_MACHINE });
    await useTls(server, { server: certificate, clients: authority });
    const [ours, another] = [await authority.sign({ name: "app" }), await stranger.sign({ name: "app" })];
    const folder = await mkdtemp(join(tmpdir(), "pipeline-certificate-"));
    const [sslCert, sslKey] = [join(folder, "client.crt"), join(folder, "client.key")];
    const use = async (pair: { certificate: string; key: string }) => {
      await Bun.write(sslCert, Bun.file(pair.certificate));
      await Bun.write(sslKey, Bun.file(pair.key));
    };
    const outcome = (files: Partial<DatabaseConfig> = { sslCert, sslKey }) =>
      trial.outcome({ sslMode: "verify-full", sslRootCert: authority.certificate, ...files });

    expect(await outcome({})).toMatch(/^access: .*requires a valid client certificate/);
    expect(await outcome()).toMatch(/^access: the file of DB_SSLCERT cannot be read: ENOENT/);
    await Bun.write(sslCert, "junk");
    expect(await outcome()).toMatch(/^access: the file of DB_SSLCERT, .*, has nothing in the form of PEM/);
    await use(another);
    expect(await outcome()).toMatch(/^access: TLS with the server fails: .*UNKNOWN_CA.*DB_SSLCERT/);
    await use({ ...ours, key: another.key });
    expect(await outcome()).toMatch(/^access: TLS with the server fails: .*KEY_VALUES_MISMATCH.*DB_SSLKEY/);
    await use(ours);
    expect(await outcome()).toBe("tls");
  });
});

test("a server that answers the request for TLS with anything else is not taken for PostgreSQL", async () => {
  await using database = await emptyDatabase();
  // The second answer has more than the one byte that comes before TLS: somebody has put it there.
  for (const answer of ["HTTP/1.1 400 Bad Request\r\n\r\n", "SEvil", "E"]) {
    using server = Bun.listen({
      hostname: "127.0.0.1",
      port: 0,
      socket: { data: (socket) => void socket.write(answer) },
    });
    const config = { ...database.config, port: server.port, sslMode: "prefer" as const };
    const error = await rejection(openSession({ config }));
    expect({ kind: classify(error), says: error.message }).toEqual({
      kind: "connection",
      says: `what answers at 127.0.0.1:${server.port} is not PostgreSQL`,
    });
  }
});
