// Switches TLS on for a server of a test, with certificates that may change while it runs.
import { chown, copyFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import postgres from "postgres";
import { eventually } from "./eventually.ts";
import type { Certificate, CertificateAuthority } from "./certificates.ts";
import type { PostgresAddress } from "./postgres.ts";

export interface TlsOptions {
  readonly server: Certificate;
  /** Clients must have a certificate that it has signed. By default they need none. */
  readonly clients?: CertificateAuthority;
}

/** A login over TCP: with TLS only, and with a certificate of the client where there is an authority for it. */
function accessRules(clients: CertificateAuthority | undefined, superuser: string): string {
  const certificate = clients === undefined ? "" : " clientcert=verify-ca";
  return `host all ${superuser} all scram-sha-256\nhostssl all all all scram-sha-256${certificate}\n`;
}

/** For sessions from now on. The superuser needs no TLS, so that the tests reach the server in any case. */
export async function useTls(
  server: PostgresAddress & { readonly directory: string },
  { server: certificate, clients }: TlsOptions,
): Promise<void> {
  const data = join(server.directory, "data");
  const { uid, gid } = await stat(data);
  const files: [from: string, name: string][] = [
    [certificate.certificate, "server.crt"],
    [certificate.key, "server.key"],
    ...(clients === undefined ? [] : [[clients.certificate, "clients.crt"] as [string, string]]),
  ];
  for (const [from, name] of files) {
    await copyFile(from, join(data, name));
    await chown(join(data, name), uid, gid);
  }
  await writeFile(join(data, "pg_hba.conf"), accessRules(clients, server.user));
  await setAndReload(server, {
    ssl: "on",
    ssl_ca_file: clients === undefined ? "" : "clients.crt",
  });
}

/** As on a server that has no certificates. */
export async function stopTls(server: PostgresAddress & { readonly directory: string }): Promise<void> {
  await writeFile(join(server.directory, "data", "pg_hba.conf"), "host all all all scram-sha-256\n");
  await setAndReload(server, { ssl: "off" });
}

async function setAndReload(
  { host, port, user, password }: PostgresAddress,
  settings: Readonly<Record<string, string>>,
): Promise<void> {
  const open = () => postgres({ host, port, username: user, password, database: "postgres", max: 1 });
  const sql = open();
  const [before] = await sql`select pg_conf_load_time() as at`;
  for (const [name, value] of Object.entries(settings))
    await sql.unsafe(`alter system set ${name} = '${value}'`);
  await sql`select pg_reload_conf()`;
  await sql.end();
  // Each new session tells what the postmaster, which starts the sessions, has loaded.
  await eventually("the server has loaded its settings", async () => {
    const later = open();
    const [now] = await later`select pg_conf_load_time() as at`;
    await later.end();
    return now?.["at"] > before?.["at"];
  });
}
