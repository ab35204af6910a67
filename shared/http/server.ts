// Serves /metrics, /healthz and /readyz over HTTP, and the routes that a program adds.
import { Hono } from "hono";
import { codeOf, errorMessage, FatalError } from "../runtime/errors.ts";
import { type Access, refusalOf } from "./access.ts";

/** Of IPv6, and with them those of IPv4. */
const ALL_ADDRESSES = "::";
const ALL_IPV4_ADDRESSES = "0.0.0.0";
/** How long `stop` waits for running responses. */
const STOP_GRACE_MS = 1000;

export interface Readiness {
  readonly ready: boolean;
  /** Why the program is not ready, one sentence each. */
  readonly reasons: readonly string[];
}

/** The context of the routes. */
export interface HttpEnvironment {
  /** Bun's server, for streams and addresses. */
  readonly Bindings: { readonly server: Bun.Server<undefined> };
  /** Why the answer may not have payloads, addresses and errors; undefined if it may. */
  readonly Variables: { refusal: string | undefined };
}

export interface HttpServerOptions {
  /** 0 = any free port. */
  readonly port: number;
  readonly host: string;
  readonly access: Access;
  /** The environment variable of the port, for the error if the port is taken. */
  readonly portVariable: string;
  readonly metrics: () => Promise<{ readonly body: string; readonly contentType: string }>;
  /** Whether the program does its work; may throw. /healthz does not depend on it. */
  readonly ready: () => Readiness;
  /** Adds routes before the fallbacks. */
  readonly app?: ((hono: Hono<HttpEnvironment>) => void) | undefined;
}

export interface HttpServer {
  /** The port in use. */
  readonly port: number;
  /** The address for a browser on this machine. */
  readonly url: string;
  stop(): Promise<void>;
}

/**
 * Starts serving.
 * @throws FatalError if the address cannot be listened on, with the port and its variable
 */
export async function startHttpServer(options: HttpServerOptions): Promise<HttpServer> {
  const hono = makeRoutes(options);
  const server = listen(options, hono);
  const port = server.port ?? options.port;
  return {
    port,
    url: urlOf(options.host, port),
    async stop() {
      // The graceful stop alone would wait for scrapers, which keep their connections open.
      await Promise.race([server.stop(), Bun.sleep(STOP_GRACE_MS)]);
      await server.stop(true);
    },
  };
}

function urlOf(host: string, port: number): string {
  if (["::", "0.0.0.0"].includes(host)) return `http://localhost:${port}/`;
  return `http://${host.includes(":") ? `[${host}]` : host}:${port}/`;
}

/** Instead of reasons and errors, which name hosts and users. */
const NOT_SHOWN = "the reasons are shown only on this machine (see HTTP_HOST), and are in the log";

function makeRoutes({ metrics, ready, app, access, host }: HttpServerOptions): Hono<HttpEnvironment> {
  const hono = new Hono<HttpEnvironment>();
  hono.use(async (context, next) => {
    context.set("refusal", refusalOf(context, access, host));
    context.header("Cache-Control", "no-store");
    await next();
  });
  hono.get("/metrics", async (context) => {
    const { body, contentType } = await metrics();
    return context.body(body, 200, { "Content-Type": contentType });
  });
  hono.get("/healthz", (context) => context.json({ status: "alive" }));
  hono.get("/readyz", (context) => {
    const { ready: isReady, reasons } = readiness(ready);
    const shown = reasons.length === 0 || context.var.refusal === undefined ? reasons : [NOT_SHOWN];
    return context.json({ ready: isReady, reasons: shown }, isReady ? 200 : 503);
  });
  app?.(hono);
  hono.get("/", (context) => context.text("/metrics\n/healthz\n/readyz\n"));
  hono.notFound((context) => context.text("not found\n", 404));
  hono.onError((error, context) =>
    context.text(context.var.refusal === undefined ? `${errorMessage(error)}\n` : "internal error\n", 500),
  );
  return hono;
}

function readiness(ready: () => Readiness): Readiness {
  try {
    return ready();
  } catch (error) {
    return { ready: false, reasons: [errorMessage(error)] };
  }
}

function listen(options: HttpServerOptions, hono: Hono<HttpEnvironment>): Bun.Server<undefined> {
  const { port, host, portVariable } = options;
  const serve = (hostname: string): Bun.Server<undefined> =>
    Bun.serve({
      port,
      hostname,
      maxRequestBodySize: 65_536,
      fetch: (request, server) => hono.fetch(request, { server }),
    });
  try {
    return serve(host);
  } catch (error) {
    // A system without IPv6 has no such address.
    if (host === ALL_ADDRESSES && !isPortAtFault(error))
      return listen({ ...options, host: ALL_IPV4_ADDRESSES }, hono);
    throw new FatalError(whyNotListening(error, port, host, portVariable));
  }
}

function isPortAtFault(error: unknown): boolean {
  return ["EADDRINUSE", "EACCES"].includes(codeOf(error) ?? "");
}

function whyNotListening(error: unknown, port: number, host: string, variable: string): string {
  const where = host === ALL_ADDRESSES ? `port ${port}` : `port ${port} on ${host}`;
  switch (codeOf(error) ?? "") {
    case "EADDRINUSE":
      return `${where} is taken by another program: set ${variable} to a free port`;
    case "EACCES":
      return `${where} needs privileges that this process does not have: set ${variable} to a port above 1023`;
    default:
      return `cannot listen on ${host}:${port} (${errorMessage(error)}): check HTTP_HOST and ${variable}`;
  }
}
