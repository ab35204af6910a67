import { expect, test } from "bun:test";
import { networkInterfaces } from "node:os";
import { type HttpServer, type HttpServerOptions, startHttpServer } from "../../shared/http/server.ts";
import { FatalError } from "../../shared/runtime/errors.ts";

const OPTIONS: HttpServerOptions = {
  port: 0,
  host: "127.0.0.1",
  access: "this_machine",
  portVariable: "METRICS_PORT_CONSUMER",
  metrics: async () => ({ body: "up 1\n", contentType: "text/plain; version=0.0.4; charset=utf-8" }),
  ready: () => ({ ready: true, reasons: [] }),
};

async function serving(
  options: Partial<HttpServerOptions>,
  use: (server: HttpServer, get: Get) => Promise<void>,
) {
  const server = await startHttpServer({ ...OPTIONS, ...options });
  try {
    await use(server, (path, init) => fetch(`http://127.0.0.1:${server.port}${path}`, init));
  } finally {
    await server.stop();
  }
}

function throwing(): never {
  throw new Error("unknown state");
}

type Get = (path: string, init?: RequestInit) => Promise<Response>;

test("/metrics answers in the text format of Prometheus", () =>
  serving({}, async (_, get) => {
    const answer = await get("/metrics");
    expect(answer.status).toBe(200);
    expect(answer.headers.get("content-type")).toBe("text/plain; version=0.0.4; charset=utf-8");
    expect(answer.headers.get("cache-control")).toBe("no-store");
    expect(await answer.text()).toBe("up 1\n");
  }));

test("/healthz answers 200 while the program is not ready", () =>
  serving({ ready: () => ({ ready: false, reasons: ["no database"] }) }, async (_, get) => {
    expect((await get("/healthz")).status).toBe(200);
  }));

test("/readyz answers 200 when ready, and 503 with the reasons when not ready or unknown", async () => {
  let ready = true;
  await serving({ ready: () => ({ ready, reasons: ready ? [] : ["no database"] }) }, async (_, get) => {
    expect((await get("/readyz")).status).toBe(200);
    ready = false;
    const answer = await get("/readyz");
    expect(answer.status).toBe(503);
    expect(await answer.json()).toEqual({ ready: false, reasons: ["no database"] });
  });
  await serving({ ready: throwing }, async (_, get) => {
    const answer = await get("/readyz");
    expect(answer.status).toBe(503);
    expect(await answer.json()).toEqual({ ready: false, reasons: ["unknown state"] });
  });
});

test("/readyz has the reasons only for whom the console answers, and the status for everyone", async () => {
  const forwarded = { headers: { "X-Forwarded-For": "192.0.2.1" } };
  const rebound = { headers: { Host: "attacker.example" } };
  const readiness = { ready: false, reasons: ["PostgreSQL on db.internal refuses user pipeline"] };
  for (const request of [forwarded, rebound]) {
    await serving({ ready: () => readiness }, async (_, get) => {
      const answer = await get("/readyz", request);
      expect(answer.status).toBe(503);
      expect(await answer.text()).not.toContain("db.internal");
    });
  }
  await serving({ ready: () => readiness, access: "anyone" }, async (_, get) => {
    expect(await (await get("/readyz", forwarded)).json()).toEqual(readiness);
  });
});

test("/metrics answers 500 to a failing scrape, and the server goes on", () =>
  serving({ metrics: () => Promise.reject(new Error("broken")) }, async (_, get) => {
    const answer = await get("/metrics");
    expect([answer.status, await answer.text()]).toEqual([500, "broken\n"]);
    const elsewhere = await get("/metrics", { headers: { Host: "consumer.example" } });
    expect([elsewhere.status, await elsewhere.text()]).toEqual([500, "internal error\n"]);
    expect((await get("/healthz")).status).toBe(200);
  }));

const hasIpv6 = Object.values(networkInterfaces()).some((all) =>
  all?.some(({ address }) => address === "::1"),
);
test.each([
  ["0.0.0.0", "localhost"],
  ["127.0.0.1", "127.0.0.1"],
  ...(hasIpv6 ? [["::1", "[::1]"] as const] : []),
])("a server that listens on %s is found by a browser under %s", (host, name) =>
  serving({ host }, async ({ port, url }) => {
    expect(url).toBe(`http://${name}:${port}/`);
    expect((await fetch(`${url}healthz`)).status).toBe(200);
  }),
);

test("/ lists the endpoints, and other paths and methods get 404", () =>
  serving({}, async (_, get) => {
    expect(await (await get("/")).text()).toContain("/metrics");
    expect((await get("/etc/passwd")).status).toBe(404);
    expect((await get("/metrics", { method: "POST", body: "x" })).status).toBe(404);
  }));

test("the routes of a program come first, and have Bun's server in their context", () =>
  serving(
    { app: (hono) => void hono.get("/", (context) => context.text(`console ${context.env.server.port}`)) },
    async (server, get) => {
      expect(await (await get("/")).text()).toBe(`console ${server.port}`);
      expect((await get("/metrics")).status).toBe(200);
    },
  ));

test("a taken port is reported with the port and its variable", () =>
  serving({}, async ({ port }) => {
    const failure = await startHttpServer({ ...OPTIONS, port }).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(FatalError);
    expect(String(failure)).toContain(`port ${port} on 127.0.0.1 is taken`);
    expect(String(failure)).toContain("METRICS_PORT_CONSUMER");
  }));

test("an address of another machine is reported with its variable", async () => {
  const failure = await startHttpServer({ ...OPTIONS, host: "192.0.2.1" }).catch((error: unknown) => error);
  expect(failure).toBeInstanceOf(FatalError);
  expect(String(failure)).toContain("HTTP_HOST");
});

test("the server stops while a client waits for an answer, and frees the port", async () => {
  const { promise: never } = Promise.withResolvers<never>();
  const server = await startHttpServer({
    ...OPTIONS,
    app: (hono) => void hono.get("/slow", () => never),
  });
  const slow = fetch(`http://127.0.0.1:${server.port}/slow`).catch(() => "cut off");
  await fetch(`http://127.0.0.1:${server.port}/healthz`);
  await server.stop();
  expect(await slow).toBe("cut off");
  const again = await startHttpServer({ ...OPTIONS, port: server.port });
  await again.stop();
});
