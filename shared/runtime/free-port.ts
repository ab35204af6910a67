// Finds TCP ports that nothing listens on, for servers that must know their port before they start.
import getPort from "get-port";

// Below the ranges that Linux (from 32768) and macOS (from 49152) use for outgoing connections: no client's socket
// can take the port of a server that restarts.
const FIRST_PORT = 20_000;
const LAST_PORT = 32_000;

/**
 * @param preferred the port to return where it is free
 * @returns a port that is free on 127.0.0.1, and that no other call in this process returned in the last 15 s
 */
export async function freePort(preferred?: number): Promise<number> {
  return await getPort({ port: candidates(preferred), host: "127.0.0.1" });
}

/** @returns `count` different free ports */
export async function freePorts(count: number): Promise<number[]> {
  return await Promise.all(Array.from({ length: count }, async () => await freePort()));
}

/** Random order: of several processes that look at the same time, each tries other ports. */
function* candidates(preferred: number | undefined): Generator<number> {
  if (preferred !== undefined) yield preferred;
  for (;;) yield FIRST_PORT + Math.floor(Math.random() * (LAST_PORT - FIRST_PORT));
}
