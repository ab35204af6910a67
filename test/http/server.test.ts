import { expect, test } from "bun:test";
import { type HttpServer, type HttpServerOptions, startHttpServer } from "../../shared/http/server.ts";
import { FatalError } from "../../shared/runtime/errors.ts";

const OPTIONS: HttpServerOptions = {
  port: 0,
  host: "127.0.0.1",
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
  throw new Error("state is gone");
}

type Get = (path: string, init?: RequestInit) => Promise<Response>;

test("/metrics gives the text as Prometheus wants it", () =>
  serving({}, async (_, get) => {
    const answer = await get("/metrics");
    expect(answer.status).toBe(200);
    expect(answer.headers.get("content-type")).toBe("text/plain; version=0.0.4; charset=utf-8");
    expect(answer.headers.get("cache-control")).toBe("no-store");
    expect(await answer.text()).toBe("up 1\n");
  }));

test("/healthz says that the process lives, though it is not ready", () =>
  serving({ ready: () => ({ ready: false, reasons: ["no database"] }) }, async (_, get) => {
    expect((await get("/healthz")).status).toBe(200);
  }));

test("/readyz is 200 when ready, 503 with the reasons when not, and when it cannot be told", async () => {
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
    expect(await answer.json()).toEqual({ ready: false, reasons: ["state is gone"] });
  });
});

test("a failing scrape is a 500 and not the end", () =>
  serving({ metrics: () => Promise.reject(new Error("broken")) }, async (_, get) => {
    expect((await get("/metrics")).status).toBe(500);
    expect((await get("/healthz")).status).toBe(200);
  }));

test("/ lists what there is, everything else is 404, and only GET is answered", () =>
  serving({}, async (_, get) => {
    expect(await (await get("/")).text()).toContain("/metrics");
    expect((await get("/etc/passwd")).status).toBe(404);
    expect((await get("/metrics", { method: "POST", body: "x" })).status).toBe(404);
  }));

test("an application's routes come first and reach Bun's server", () =>
  serving(
    { app: (hono) => void hono.get("/", (context) => context.text(`console ${context.env.server.port}`)) },
    async (server, get) => {
      expect(await (await get("/")).text()).toBe(`console ${server.port}`);
      expect((await get("/metrics")).status).toBe(200);
    },
  ));

test("a taken port is one sentence that names the port and its variable", () =>
  serving({}, async ({ port }) => {
    const failure = await startHttpServer({ ...OPTIONS, port }).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(FatalError);
    expect(String(failure)).toContain(`port ${port} on 127.0.0.1 is taken`);
    expect(String(failure)).toContain("METRICS_PORT_CONSUMER");
  }));

test("an address that is not this machine's is one sentence too", async () => {
  const failure = await startHttpServer({ ...OPTIONS, host: "192.0.2.1" }).catch((error: unknown) => error);
  expect(failure).toBeInstanceOf(FatalError);
  expect(String(failure)).toContain("HTTP_HOST");
});

test("stops within its grace though a client holds on, and frees the port", async () => {
  const { promise: never } = Promise.withResolvers<never>();
  const server = await startHttpServer({
    ...OPTIONS,
    app: (hono) => void hono.get("/slow", () => never),
  });
  const slow = fetch(`http://127.0.0.1:${server.port}/slow`).catch(() => "cut off");
  await fetch(`http://127.0.0.1:${server.port}/healthz`);
  const began = performance.now();
  await server.stop();
  expect(performance.now() - began).toBeLessThan(5000);
  expect(await slow).toBe("cut off");
  const again = await startHttpServer({ ...OPTIONS, port: server.port });
  await again.stop();
});
