// Serves a console with given sections on a free port.
import { makeConsole, type ConsoleOptions } from "../../shared/console/routes.tsx";
import { PRODUCER_SECTIONS, type ProducerSections } from "../../shared/api-schema.ts";
import { type HttpServerOptions, startHttpServer } from "../../shared/http/server.ts";

type Options = ConsoleOptions<typeof PRODUCER_SECTIONS>;

const AT_MS = Date.UTC(2026, 2, 14);
const POINT = { atMs: AT_MS, producedPerSecond: 1, failedPerSecond: 0, bytesPerSecond: 9, outstanding: 0 };

/** The sections of a producer. */
export const SECTIONS: ProducerSections = {
  status: {
    program: "producer",
    version: "1",
    startedAtMs: AT_MS,
    state: "well",
    headline: "All is well",
    reasons: ["it runs"],
    facts: [],
  },
  production: { now: POINT, totals: { acknowledged: 1, failed: 0, bytes: 9 }, types: [], lastFailure: null },
  history: [POINT],
  alerts: {
    own: [],
    prometheus: {
      url: "http://localhost:9090/",
      source: { state: "waiting", sinceMs: AT_MS, readAtMs: null, reason: null },
      alerts: [],
    },
  },
};

/** Serve the sections above. */
export const READERS: Options["sections"] = {
  status: { read: () => SECTIONS.status },
  production: { read: () => SECTIONS.production },
  history: { read: () => SECTIONS.history, isOnce: true },
  alerts: { read: () => SECTIONS.alerts },
};

/** Disposing stops it. */
export async function consoleServer(
  options: Partial<Options> = {},
  listening: Partial<Pick<HttpServerOptions, "host" | "access" | "ready">> = {},
) {
  const webConsole = makeConsole({
    program: "producer",
    schemas: PRODUCER_SECTIONS,
    sections: READERS,
    ...options,
  });
  const server = await startHttpServer({
    port: 0,
    host: "127.0.0.1",
    access: "this_machine",
    portVariable: "METRICS_PORT_PRODUCER",
    metrics: async () => ({ body: "up 1\n", contentType: "text/plain" }),
    ready: () => ({ ready: true, reasons: [] }),
    app: webConsole.mount,
    ...listening,
  });
  return {
    port: server.port,
    webConsole,
    get: (path: string, init?: RequestInit) => fetch(`http://127.0.0.1:${server.port}${path}`, init),
    async [Symbol.asyncDispose]() {
      webConsole.close();
      await server.stop();
    },
  };
}
