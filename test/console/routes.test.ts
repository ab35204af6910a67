import { describe, expect, test } from "bun:test";
import { networkInterfaces } from "node:os";
import { Type } from "typebox";
import { Compile } from "typebox/compile";
import { MAX_WATCHERS } from "../../shared/console/routes.tsx";
import { PRODUCER_SECTIONS } from "../../shared/api-schema.ts";
import { eventually } from "../support/eventually.ts";
import { requiring } from "../support/requirements.ts";
import { consoleServer, READERS, SECTIONS } from "./console-server.ts";

const PATHS = ["/", "/console.js", "/console.css", "/api", "/api/status", "/events", "/none"];

describe("access to the console", () => {
  test("is refused under another name with what to do, on every path but those of the scrape", async () => {
    await using server = await consoleServer();
    const headers = { Host: "evil.example" };
    for (const path of PATHS) {
      const answer = await server.get(path, { headers });
      expect([path, answer.status]).toEqual([path, 403]);
      expect(await answer.text()).toContain("set HTTP_HOST");
    }
    for (const path of ["/metrics", "/healthz", "/readyz"]) {
      expect((await server.get(path, { headers })).status).toBe(200);
    }
  });

  test("is closed to names of websites also where HTTP_HOST opens it", async () => {
    await using server = await consoleServer({}, { access: "anyone" });
    for (const path of PATHS.filter((each) => each !== "/none")) {
      const rebound = await server.get(path, {
        headers: { Host: `attacker.example:${server.port}`, "Sec-Fetch-Site": "same-origin" },
      });
      expect([path, rebound.status]).toEqual([path, 403]);
      const answer = await server.get(path, { headers: { Host: `consumer:${server.port}` } });
      expect([path, answer.status]).toEqual([path, 200]);
      await answer.body?.cancel();
    }
  });

  test("is closed to pages of other sites, but for links", async () => {
    await using server = await consoleServer();
    const status = async (headers: Record<string, string>) =>
      (await server.get("/api/status", { headers })).status;
    expect(await status({ "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors" })).toBe(403);
    expect(await status({ "Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors" })).toBe(403);
    expect(await status({ "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate" })).toBe(200);
    expect(await status({ "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors" })).toBe(200);
  });

  const addresses = Object.values(networkInterfaces()).flat();
  const addressOf = (family: "IPv4" | "IPv6", internal: boolean) =>
    addresses.find(
      (each) => each?.family === family && each.internal === internal && !each.address.startsWith("fe80"),
    )?.address;
  const outside = addressOf("IPv4", false);
  const outside6 = addressOf("IPv6", false);
  const reasonWithout = (address: string | undefined) =>
    address === undefined ? "there is none" : undefined;

  requiring("the loopback address of IPv6", reasonWithout(addressOf("IPv6", true)))(
    "answers this machine over IPv4 and IPv6 where the server listens on all addresses",
    async () => {
      await using server = await consoleServer({}, { host: "::" });
      for (const host of ["127.0.0.1", "[::1]", "localhost"]) {
        expect((await fetch(`http://${host}:${server.port}/api/status`)).status).toBe(200);
      }
    },
  );

  requiring("an address other than loopback", reasonWithout(outside))(
    "is closed over the network, where only the scrape answers",
    async () => isOpenToScrapesOnly(String(outside)),
  );

  requiring("an address of IPv6 other than loopback", reasonWithout(outside6))(
    "is closed over IPv6, where only the scrape answers",
    async () => isOpenToScrapesOnly(`[${outside6}]`),
  );

  async function isOpenToScrapesOnly(outsideHost: string): Promise<void> {
    await using server = await consoleServer({}, { host: "::" });
    const status = async (path: string) => {
      const answer = await fetch(`http://${outsideHost}:${server.port}${path}`, {
        headers: { Host: "localhost" },
      });
      return answer.status;
    };
    expect(await Promise.all(["/", "/api/status", "/events", "/metrics", "/readyz"].map(status))).toEqual([
      403, 403, 403, 200, 200,
    ]);
  }
});

describe("the console", () => {
  test("serves a page without inline code, under a policy that forbids it", async () => {
    await using server = await consoleServer();
    const answer = await server.get("/");
    const policy = answer.headers.get("content-security-policy") ?? "";
    for (const directive of [
      "default-src 'none'",
      "script-src 'self'",
      "style-src 'self'",
      "frame-ancestors 'none'",
    ]) {
      expect(policy.split("; ")).toContain(directive);
    }
    expect(policy).not.toContain("unsafe");
    expect(answer.headers.get("x-content-type-options")).toBe("nosniff");
    expect(answer.headers.get("referrer-policy")).toBe("no-referrer");
    const page = await answer.text();
    expect(page).toStartWith("<!doctype html>");
    expect(page).not.toMatch(
      /<script(?![^>]* src="\/console\.js)|<style| style=| on[a-z]+=|https?:\/\/(?!www\.w3)/,
    );
    for (const [, path = ""] of page.matchAll(/(?:src|href)="(\/console[^"]*)"/g)) {
      const asset = await server.get(path);
      expect(asset.status).toBe(200);
      expect((await asset.text()).length).toBeGreaterThan(1000);
    }
  });

  test("describes every endpoint under /api, and each matches its description", async () => {
    await using server = await consoleServer();
    const Index = Type.Object({
      endpoints: Type.Array(Type.Object({ path: Type.String(), schema: Type.Object({}) })),
    });
    const index: unknown = await (await server.get("/api")).json();
    if (!Compile(Index).Check(index)) throw new Error("/api is not an index");
    expect(index.endpoints.map(({ path }) => path)).toEqual(
      Object.keys(PRODUCER_SECTIONS).map((name) => `/api/${name}`),
    );
    for (const { path, schema } of index.endpoints) {
      const answer = await server.get(path);
      expect(answer.headers.get("content-type")).toStartWith("application/json");
      expect(Compile(Type.Unsafe(schema)).Check(await answer.json())).toBe(true);
    }
  });

  test("updates a section before it answers", async () => {
    let refreshed = 0;
    const refresh = async () => void refreshed++;
    await using server = await consoleServer({
      sections: {
        ...READERS,
        status: { read: () => ({ ...SECTIONS.status, reasons: [`refreshed ${refreshed}`] }), refresh },
      },
    });
    expect(await (await server.get("/api/status")).json()).toMatchObject({ reasons: ["refreshed 1"] });
    expect(refreshed).toBe(1);
  });

  test("looks a dead letter up by its position", async () => {
    const asked: unknown[] = [];
    await using server = await consoleServer({ deadLetter: async (key) => void asked.push(key) });
    expect((await server.get("/api/dead-letters/a%2Fb/id/3/17")).status).toBe(404);
    expect((await server.get("/api/dead-letters/a/id/3/-1")).status).toBe(404);
    expect((await server.get("/api/dead-letters/a/id/x/1")).status).toBe(404);
    expect((await server.get("/api/dead-letters/a/id/3/17?reading=-1")).status).toBe(404);
    // What PostgreSQL would refuse with an error of its own.
    expect((await server.get("/api/dead-letters/a/id/2147483648/17")).status).toBe(404);
    expect((await server.get("/api/dead-letters/a/id/3/17?reading=2147483648")).status).toBe(404);
    expect((await server.get("/api/dead-letters/a/id/3/9007199254740993")).status).toBe(404);
    expect((await server.get("/api/dead-letters/a%00/id/3/17")).status).toBe(404);
    expect((await server.get("/api/dead-letters/a/i%00d/3/17")).status).toBe(404);
    expect((await server.get("/api/dead-letters/a/id/3/17?reading=2")).status).toBe(404);
    expect(asked).toEqual([
      { topic: "a/b", topicId: "id", partition: 3, reading: 0, offset: 17 },
      { topic: "a", topicId: "id", partition: 3, reading: 2, offset: 17 },
    ]);
  });
});

describe("a stream of events", () => {
  test("has each section once, then what has changed, and shares each read with the other streams", async () => {
    let acknowledged = 1;
    await using server = await consoleServer({
      sections: {
        ...READERS,
        production: {
          read: () => ({
            ...SECTIONS.production,
            totals: { ...SECTIONS.production.totals, acknowledged: acknowledged++ },
          }),
        },
      },
    });
    await using first = new Watcher(await server.get("/events"));
    await first.until(({ length }) => length >= 7);
    expect(first.names.filter((name) => name !== "production").toSorted()).toEqual([
      "alerts",
      "build",
      "history",
      "status",
    ]);
    await using second = new Watcher(await server.get("/events"));
    await second.until(() => second.productions.length >= 3);
    // Every read has another value, so a value that both streams have was read once.
    const seen = [...second.productions];
    await first.until(() => first.productions.includes(seen.at(-1)!));
    expect(seen.filter((data) => !first.productions.includes(data))).toEqual([]);
  });

  test("reads nothing after its last browser has left", async () => {
    let reads = 0;
    await using server = await consoleServer({
      sections: { ...READERS, status: { read: () => ({ ...SECTIONS.status, version: String(reads++) }) } },
    });
    const watcher = new Watcher(await server.get("/events"));
    await watcher.until((names) => names.includes("status"));
    await watcher[Symbol.asyncDispose]();
    let before = -1;
    await eventually("it reads no more", async () => {
      before = reads;
      await Bun.sleep(1500);
      return reads === before;
    });
  });

  test("is one of a limited number also for browsers that come together, before the page was ever built", async () => {
    await using server = await consoleServer();
    const answers = await Promise.all(Array.from({ length: 3 * MAX_WATCHERS }, () => server.get("/events")));
    const statuses = answers.map(({ status }) => status);
    await Promise.all(answers.map(({ body }) => body?.cancel()));
    expect(statuses.filter((status) => status === 200)).toHaveLength(MAX_WATCHERS);
    expect(statuses.filter((status) => status === 503)).toHaveLength(2 * MAX_WATCHERS);
  });

  test("is one of a limited number, and ends when the console closes", async () => {
    const server = await consoleServer();
    const watchers = await Promise.all(Array.from({ length: MAX_WATCHERS }, () => server.get("/events")));
    const streams = watchers.map((answer) => new Watcher(answer));
    await Promise.all(streams.map((stream) => stream.until((names) => names.includes("status"))));
    const refused = await server.get("/events");
    expect(refused.status).toBe(503);
    expect(await refused.text()).toContain(String(MAX_WATCHERS));
    server.webConsole.close();
    await Promise.all(streams.map((stream) => stream.ended));
    await server[Symbol.asyncDispose]();
  });
});

test("browsers that leave at once, and HEAD requests, do not use up the streams", async () => {
  await using server = await consoleServer();
  const hasRoom = () =>
    eventually("there is room", async () => {
      const answer = await server.get("/events");
      await answer.body?.cancel();
      return answer.status === 200;
    });
  for (let n = 0; n < 2 * MAX_WATCHERS; n++) {
    const leaving = new AbortController();
    const answer = server.get("/events", { signal: leaving.signal }).catch(() => undefined);
    if (n % 2 === 0) await Bun.sleep(1);
    leaving.abort();
    await answer;
  }
  await hasRoom();
  for (let n = 0; n < 2 * MAX_WATCHERS; n++) await server.get("/events", { method: "HEAD" });
  await hasRoom();
});

/** Collects the names of server-sent events until it is disposed. */
class Watcher implements AsyncDisposable {
  readonly names: string[] = [];
  /** The data of the events "production". */
  readonly productions: string[] = [];
  readonly ended: Promise<void>;
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;

  constructor(answer: Response) {
    this.#reader = answer.body!.getReader() as ReadableStreamDefaultReader<Uint8Array>;
    this.ended = this.#read();
  }

  async until(condition: (names: readonly string[]) => boolean): Promise<void> {
    await eventually("the events came", () => condition(this.names));
  }

  async #read(): Promise<void> {
    const decoder = new TextDecoder();
    for (;;) {
      const { done, value } = await this.#reader.read();
      if (done) return;
      const text = decoder.decode(value, { stream: true });
      this.names.push(...text.matchAll(/^event: (.*)$/gm).map(([, name = ""]) => name));
      this.productions.push(...text.matchAll(/^event: production\n(.*)$/gm).map(([, data = ""]) => data));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#reader.cancel();
  }
}
