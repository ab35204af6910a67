import { describe, expect, test } from "bun:test";
import { freePort, freePorts } from "../../shared/runtime/free-port.ts";
import { eventually } from "../support/eventually.ts";

function listenOn(port: number, hostname: string): Bun.Server<undefined> {
  return Bun.serve({ port, hostname, fetch: () => new Response("") });
}

describe("free ports", () => {
  test("are different and below the range of outgoing connections", async () => {
    const ports = await freePorts(20);
    expect(new Set(ports).size).toBe(20);
    expect(Math.max(...ports)).toBeLessThan(32_768);
  });

  test("can be listened on", async () => {
    await eventually("a server listens on a free port", async () => {
      await using server = listenOn(await freePort(), "127.0.0.1");
      return server.port;
    });
  });
});

describe("a preferred port", () => {
  test("is returned where it is free", async () => {
    // Another process may take a port that was free a moment ago, so the test tries several.
    await eventually("a preferred port is returned", async () => {
      const preferred = 20_000 + Math.floor(Math.random() * 12_000);
      return (await freePort(preferred)) === preferred;
    });
  });

  test.each(["127.0.0.1", "0.0.0.0"])("is not returned where a server listens on it at %s", async (host) => {
    await using server = listenOn(0, host);
    expect(await freePort(server.port)).not.toBe(server.port ?? 0);
  });
});
