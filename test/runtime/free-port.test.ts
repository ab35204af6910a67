import { expect, test } from "bun:test";
import { freePorts } from "../../shared/runtime/free-port.ts";

test("ports are different, free, and outside of what outgoing connections take", async () => {
  const ports = await freePorts(20);
  expect(new Set(ports).size).toBe(20);
  const servers = ports.map((port) =>
    Bun.serve({ port, hostname: "127.0.0.1", fetch: () => new Response("") }),
  );
  await Promise.all(servers.map((server) => server.stop(true)));
  expect(Math.max(...ports)).toBeLessThan(32_768);
});
