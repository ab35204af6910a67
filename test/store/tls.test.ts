// Connects to a server with a certificate of its own, in every mode of DB_SSLMODE.
import { describe, expect } from "bun:test";
import { appendFile, chown, stat } from "node:fs/promises";
import { join } from "node:path";
import type { DatabaseConfig } from "../../shared/config/config.ts";
import { classify } from "../../shared/store/sqlstate.ts";
import { startPostgres } from "../support/postgres.ts";
import { rejection } from "../support/rejection.ts";
import { requiring } from "../support/requirements.ts";
import { openSession } from "./pipeline-database.ts";

const tlsTest = requiring("openssl", Bun.which("openssl") === null ? "it is not installed" : undefined);

/** Makes a certificate of localhost that nobody has signed, and gives it to the server. */
async function useCertificate(directory: string): Promise<void> {
  const data = join(directory, "data");
  const [certificate, key] = [join(data, "server.crt"), join(data, "server.key")];
  const made = Bun.spawn(
    [
      "openssl",
      "req",
      "-new",
      "-x509",
      "-nodes",
      "-subj",
      "/CN=localhost",
      "-out",
      certificate,
      "-keyout",
      key,
    ],
    { stdio: ["ignore", "ignore", "ignore"] },
  );
  expect(await made.exited).toBe(0);
  const { uid, gid } = await stat(data);
  for (const file of [certificate, key]) await chown(file, uid, gid);
  await appendFile(join(data, "postgresql.conf"), "\nssl = on\n");
}

describe("DB_SSLMODE", () => {
  tlsTest("encrypts a session, or says which certificate is not accepted", async () => {
    await using server = await startPostgres();
    await server.stop("fast");
    await useCertificate(server.directory);
    await server.start();
    await using database = await server.database();

    const modes: [mode: DatabaseConfig["sslMode"], isEncrypted: boolean][] = [
      ["disable", false],
      ["prefer", true],
      ["require", true],
    ];
    for (const [sslMode, isEncrypted] of modes) {
      const session = await openSession({ config: { ...database.config, sslMode } });
      expect(await session.sql`select ssl from pg_stat_ssl where pid = pg_backend_pid()`).toMatchObject([
        { ssl: isEncrypted },
      ]);
      session.destroy();
    }

    for (const sslMode of ["verify-ca", "verify-full"] as const) {
      for (const host of ["127.0.0.1", "localhost"]) {
        const error = await rejection(openSession({ config: { ...database.config, host, sslMode } }));
        expect({ sslMode, host, kind: classify(error), says: error.message }).toEqual({
          sslMode,
          host,
          kind: "access",
          says: expect.stringMatching(
            /^the server's certificate is not accepted: self.signed certificate.*DB_SSLMODE/,
          ),
        });
      }
    }
  });
});
