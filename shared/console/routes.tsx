// Serves a program's console: the page, its stream of events, and the same data as JSON under /api.
/** @jsxImportSource hono/jsx */
import { type Context, Hono, type MiddlewareHandler } from "hono";
import { html } from "hono/html";
import { secureHeaders } from "hono/secure-headers";
import { streamSSE } from "hono/streaming";
import type { Static, TSchema } from "typebox";
import { isFromAnotherSite } from "../http/access.ts";
import type { HttpEnvironment } from "../http/server.ts";
import { makeAssets } from "./assets.ts";
import { Hub, type Section } from "./hub.ts";
import { Page } from "./page.tsx";
import { type DeadLetter, type DeadLetterKey, DeadLetterSchema } from "../api-schema.ts";

/** The most browsers that may watch at once; each costs a connection and a few kilobytes. */
export const MAX_WATCHERS = 32;

export interface ConsoleOptions<Schemas extends Readonly<Record<string, TSchema>>> {
  readonly program: "consumer" | "producer";
  readonly schemas: Schemas;
  readonly sections: {
    readonly [Name in keyof Schemas]: Section & { readonly read: () => Static<Schemas[Name]> };
  };
  /** Resolves with undefined if there is none; rejects while it cannot be looked up. */
  readonly deadLetter?: (key: DeadLetterKey) => Promise<DeadLetter | undefined>;
}

export interface Console {
  /** Adds the console's routes to a server. */
  readonly mount: (hono: Hono<HttpEnvironment>) => void;
  /** Ends all streams. */
  readonly close: () => void;
}

const DEAD_LETTER_PATH = "/dead-letters/:topic/:topicId/:partition/:offset";

/** Makes the console of a program, to be mounted on its HTTP server. */
export function makeConsole<Schemas extends Readonly<Record<string, TSchema>>>(
  options: ConsoleOptions<Schemas>,
): Console {
  const { program, sections, deadLetter } = options;
  const hub = new Hub(sections);
  const assets = makeAssets();
  const app = new Hono<HttpEnvironment>();
  app.use(headers);
  app.use(admittedOnly);
  app.get("/", async (context) => {
    const { build } = await assets();
    return context.html(html`<!doctype html>${<Page program={program} build={build} />}`);
  });
  app.get("/console.js", async (context) => {
    return context.body((await assets()).script, 200, { "Content-Type": "text/javascript; charset=utf-8" });
  });
  app.get("/console.css", async (context) => {
    return context.body((await assets()).style, 200, { "Content-Type": "text/css; charset=utf-8" });
  });
  app.get("/events", async (context) => {
    const { build } = await assets();
    // Nothing may be awaited from here on to where the hub counts the browser: others would pass the limit meanwhile.
    if (hub.watchers >= MAX_WATCHERS) {
      return context.text(
        `${MAX_WATCHERS} browsers are watching, which is the limit: close one of them\n`,
        503,
      );
    }
    let greeting = `retry: 1000\nevent: build\ndata: ${JSON.stringify(build)}\n\n`;
    return streamSSE(context, (stream) =>
      hub.watch(async (text) => {
        await stream.write(greeting + text);
        greeting = "";
        return !stream.aborted;
      }),
    );
  });
  const api = new Hono<HttpEnvironment>();
  api.get("/", (context) => context.json(describeApi(options)));
  for (const [name, { read, refresh }] of Object.entries<Section>(sections)) {
    api.get(`/${name}`, async (context) => {
      await refresh?.();
      return json(context, read());
    });
  }
  if (deadLetter !== undefined) {
    api.get(DEAD_LETTER_PATH, async (context) => {
      const { topic, topicId, partition, offset } = context.req.param();
      const reading = context.req.query("reading") ?? "0";
      const isPlace =
        [partition, reading].every((number) => isWhole(number, MAX_INTEGER)) &&
        isWhole(offset, Number.MAX_SAFE_INTEGER) &&
        !`${topic}${topicId}`.includes("\0");
      const key = {
        topic,
        topicId,
        partition: Number(partition),
        reading: Number(reading),
        offset: Number(offset),
      };
      const found = isPlace ? await deadLetter(key) : undefined;
      return found === undefined ? context.text("no such dead letter\n", 404) : json(context, found);
    });
  }
  app.route("/api", api);
  return { mount: (hono) => void hono.route("/", app), close: () => hub.close() };
}

/** The greatest value of PostgreSQL's type `integer`. */
const MAX_INTEGER = 2 ** 31 - 1;

function isWhole(text: string, maximum: number): boolean {
  return /^\d{1,16}$/.test(text) && Number(text) <= maximum;
}

/** Indented JSON, for people with a browser or a terminal. */
function json(context: Context, value: unknown): Response {
  return context.body(`${JSON.stringify(value, undefined, 2)}\n`, 200, {
    "Content-Type": "application/json; charset=utf-8",
  });
}

function describeApi({ schemas, deadLetter }: ConsoleOptions<Readonly<Record<string, TSchema>>>) {
  const described = ([path, schema]: readonly [string, TSchema]) => ({ path, schema });
  return {
    description:
      "The data of the page as JSON. Times (AtMs, SinceMs) are milliseconds since 1970, durations are seconds.",
    endpoints: [
      ...Object.entries(schemas).map(([name, schema]) => described([`/api/${name}`, schema])),
      ...(deadLetter === undefined ? [] : [described([`/api${DEAD_LETTER_PATH}`, DeadLetterSchema])]),
    ],
  };
}

/** Only our own files, nothing inline, no markup from text, and no framing by other pages. */
const headers = secureHeaders({
  contentSecurityPolicy: {
    defaultSrc: ["'none'"],
    scriptSrc: ["'self'"],
    styleSrc: ["'self'"],
    connectSrc: ["'self'"],
    imgSrc: ["data:"],
    baseUri: ["'none'"],
    formAction: ["'none'"],
    frameAncestors: ["'none'"],
    requireTrustedTypesFor: ["'script'"],
    trustedTypes: ["'none'"],
  },
  referrerPolicy: "no-referrer",
  xFrameOptions: "DENY",
  crossOriginResourcePolicy: "same-origin",
  // The console is plain HTTP; a proxy that adds TLS adds this header.
  strictTransportSecurity: false,
});

const admittedOnly: MiddlewareHandler<HttpEnvironment> = async (context, next) => {
  if (context.var.refusal !== undefined) return context.text(context.var.refusal, 403);
  if (isFromAnotherSite(context.req.raw.headers)) {
    return context.text("pages of other sites may not use the console\n", 403);
  }
  await next();
  return undefined;
};
