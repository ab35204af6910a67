// Nothing in; TCP ports out that nobody listens on, for servers that must know theirs before they start.
import { createServer } from "node:net";

// Below the ranges that Linux (32768 up) and macOS (49152 up) take for outgoing connections: while a server
// is down in the middle of a test, no client's socket can take its port.
const FIRST_PORT = 20_000;
const LAST_PORT = 32_000;

/** @returns `count` different ports, free on 127.0.0.1 at this moment */
export async function freePorts(count: number): Promise<number[]> {
  const ports = new Set<number>();
  while (ports.size < count) {
    const port = FIRST_PORT + Math.floor(Math.random() * (LAST_PORT - FIRST_PORT));
    if (!ports.has(port) && (await isFree(port))) ports.add(port);
  }
  return [...ports];
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen({ port, host: "127.0.0.1", exclusive: true }, () => server.close(() => resolve(true)));
  });
}
