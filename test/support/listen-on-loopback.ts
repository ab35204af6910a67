// Lets a server of node:net listen where only this machine reaches it.
import type { Server } from "node:net";

/** @returns the port, which the system has chosen */
export async function listenOnLoopback(listener: Server): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  listener.once("error", reject);
  listener.listen(0, "127.0.0.1", resolve);
  await promise;
  const address = listener.address();
  if (address === null || typeof address === "string") throw new Error("the server has no port");
  return address.port;
}
