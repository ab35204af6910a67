// Opens the socket to a PostgreSQL server: TCP or Unix, and TLS as DB_SSLMODE says.

import { connect, isIP, type Socket } from "node:net";
import { readFileSync } from "node:fs";
import { checkServerIdentity, type ConnectionOptions, connect as connectTls } from "node:tls";
import type { DatabaseConfig } from "../config/config.ts";
import { errorMessage } from "../runtime/errors.ts";
import { SessionRefused } from "./sqlstate.ts";

const DEADLINE_SECONDS = 10;
/** Asks the server for TLS: the length of the message, and a version that no protocol has. */
const SSL_REQUEST = Buffer.from([0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f]);

/**
 * Opens the TCP socket, or the Unix socket for a host that is a path, and makes sure of the server. The certificates
 * are read again each time, so they may be renewed. (The driver's own TLS takes any answer for a yes, and does not say
 * that the server has none.)
 *
 * @throws SessionRefused where the server does not offer what the mode needs, or a file cannot be read; else the error of
 *   the socket or of TLS
 */
export async function openServerSocket(config: DatabaseConfig): Promise<Socket> {
  const { host, port, sslMode } = config;
  const isLocal = host.startsWith("/");
  const tls = isLocal || sslMode === "disable" ? undefined : tlsOptions(config);
  const socket = isLocal
    ? connect({ path: `${host}/.s.PGSQL.${port}` })
    : connect({ host, port, keepAlive: true, keepAliveInitialDelay: 10_000 });
  socket.setNoDelay(true);
  const deadline = Promise.withResolvers<never>();
  const timer = setTimeout(() => {
    deadline.reject(Object.assign(new Error(`no answer from ${host}:${port}`), { code: "CONNECT_TIMEOUT" }));
  }, DEADLINE_SECONDS * 1000);
  const opened = (async () => {
    await once(socket, "connect");
    if (tls === undefined) return socket;
    if (await offersTls(socket, host, port)) return await secure(socket, tls);
    if (sslMode === "allow" || sslMode === "prefer") return socket;
    throw new SessionRefused("access", `the server has no TLS, and DB_SSLMODE=${sslMode} needs it`);
  })();
  try {
    // The driver reports the address of a lost connection from these.
    return Object.assign(await Promise.race([opened, deadline.promise]), { host, port });
  } catch (error) {
    opened.catch(() => undefined);
    socket.destroy();
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

/** Waits for an event, or for the error or the end that comes in its place. */
async function once(socket: Socket, event: "connect" | "data" | "secureConnect"): Promise<unknown> {
  const { promise, resolve, reject } = Promise.withResolvers<unknown>();
  const onClose = () =>
    reject(Object.assign(new Error("the server has closed the connection"), { code: "CONNECTION_CLOSED" }));
  socket.once(event, resolve).once("error", reject).once("close", onClose);
  try {
    return await promise;
  } finally {
    socket.off(event, resolve).off("error", reject).off("close", onClose);
  }
}

/** @throws SessionRefused where the answer is not that of PostgreSQL */
async function offersTls(socket: Socket, host: string, port: number): Promise<boolean> {
  socket.write(SSL_REQUEST);
  const answer = String(await once(socket, "data"));
  // One byte: what else comes before TLS is from somebody in between.
  if (answer === "S") return true;
  if (answer === "N") return false;
  throw new SessionRefused("connection", `what answers at ${host}:${port} is not PostgreSQL`);
}

async function secure(socket: Socket, options: ConnectionOptions): Promise<Socket> {
  const encrypted = connectTls({ ...options, socket });
  await once(encrypted, "secureConnect");
  return encrypted;
}

function tlsOptions(config: DatabaseConfig): ConnectionOptions {
  const { host, sslMode, sslRootCert, sslCert, sslKey } = config;
  return {
    // The name of a server in the handshake may not be an address.
    ...(isIP(host) === 0 && { servername: host }),
    ...(sslRootCert !== undefined && { ca: readPem("DB_SSLROOTCERT", sslRootCert) }),
    ...(sslCert !== undefined && { cert: readPem("DB_SSLCERT", sslCert) }),
    ...(sslKey !== undefined && { key: readPem("DB_SSLKEY", sslKey) }),
    rejectUnauthorized: sslMode === "verify-ca" || sslMode === "verify-full",
    checkServerIdentity: (_, certificate) =>
      sslMode === "verify-ca" ? undefined : checkServerIdentity(host, certificate),
  };
}

function readPem(variable: string, path: string): string {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    throw new SessionRefused("access", `the file of ${variable} cannot be read: ${errorMessage(error)}`);
  }
  if (!text.includes("-----BEGIN "))
    throw new SessionRefused("access", `the file of ${variable}, ${path}, has nothing in the form of PEM`);
  return text;
}
