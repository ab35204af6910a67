// Chooses the PostgreSQL that the tests run against: a version, and the way to it, as TEST_POSTGRES says.
import { join } from "node:path";
import { cachedDirectory } from "../../shared/runtime/cache.ts";
import { EmbeddedPostgres, type EmbeddedPostgresOptions } from "../../shared/store/embedded-postgres.ts";
import { BINARIES_PACKAGE } from "../../shared/store/postgres-installation.ts";
import { CertificateAuthority } from "./certificates.ts";
import { startPgBouncer } from "./pgbouncer.ts";
import type { PostgresAddress } from "./postgres.ts";
import { useTls } from "./postgres-tls.ts";

/** Besides the version that the demo uses, which is installed with the other packages. */
const VERSIONS: Readonly<Record<string, string>> = {
  "15": "15.18.0-beta.17",
  "16": "16.14.0-beta.17",
  "17": "17.10.0-beta.17",
};
const WAYS = ["tls", "pgbouncer", "dml"] as const;

export interface PostgresVariant {
  /** Undefined: the installed one. */
  readonly version: string | undefined;
  /** Programs and sessions verify the server's certificate, of a private authority. */
  readonly isTls: boolean;
  /** PgBouncer, in session mode, is in front of the server that all tests share. */
  readonly isPooled: boolean;
  /** Pipelines run with a role that may read and write the tables, and create nothing. */
  readonly isDmlOnly: boolean;
}

/** @param words such as `16,tls`; separated by commas, empty for the default */
export function readVariant(words: string): PostgresVariant {
  const chosen = words.split(",").filter(Boolean);
  const versions = chosen.filter((word) => word in VERSIONS);
  const unknown = chosen.filter((word) => !(word in VERSIONS) && !WAYS.some((way) => way === word));
  if (unknown.length > 0 || versions.length > 1) {
    const known = [...Object.keys(VERSIONS), ...WAYS].join(", ");
    throw new Error(`TEST_POSTGRES=${words}: must be one version and ways to it, of ${known}`);
  }
  return {
    version: versions[0] === undefined ? undefined : VERSIONS[versions[0]],
    isTls: chosen.includes("tls"),
    isPooled: chosen.includes("pgbouncer"),
    isDmlOnly: chosen.includes("dml"),
  };
}

export const VARIANT = readVariant(process.env["TEST_POSTGRES"] ?? "");

/** How programs and sessions under test reach a server; the tests themselves go to it directly. */
export interface Route {
  readonly port: number;
  /** TLS with verify-full by this authority; undefined: no TLS. */
  readonly sslRootCert?: string;
}

/** Starts a server of the chosen version, with TLS where it is chosen. */
export async function startServer(
  options: EmbeddedPostgresOptions = {},
): Promise<{ server: EmbeddedPostgres; route: Route }> {
  const { version, isTls } = VARIANT;
  const server = await EmbeddedPostgres.start({
    ...options,
    ...(version !== undefined && { installedFor: await installed(version) }),
  });
  if (!isTls) return { server, route: { port: server.port } };
  const authority = await CertificateAuthority.make();
  await useTls(server, { server: await authority.sign({ name: "server", hosts: "IP:127.0.0.1" }) });
  return { server, route: { port: server.port, sslRootCert: authority.certificate } };
}

/** The route through PgBouncer where it is chosen; it ends with this process. */
export async function poolRoute(server: PostgresAddress, route: Route): Promise<Route> {
  if (!VARIANT.isPooled) return route;
  const { address } = await startPgBouncer(server, {
    // The server has many databases, each of them used for seconds.
    max_client_conn: "1000",
    server_idle_timeout: "1",
  });
  return { port: address.port };
}

/** @returns a directory in which this version is installed */
async function installed(version: string): Promise<string> {
  return await cachedDirectory(`postgres-package-${version}`, async (directory) => {
    await Bun.write(join(directory, "package.json"), "{}");
    const adding = Bun.spawn([process.execPath, "add", "--exact", `${BINARIES_PACKAGE}@${version}`], {
      cwd: directory,
      stdio: ["ignore", "ignore", "pipe"],
    });
    const errors = await adding.stderr.text();
    if ((await adding.exited) !== 0) throw new Error(`${BINARIES_PACKAGE}@${version}: ${errors.trim()}`);
  });
}
