// Opens the consumer's console in a browser, with a consumer, Kafka and PostgreSQL behind it.
import { afterAll, beforeAll, expect } from "bun:test";
import { type Browser } from "playwright-core";
import axe from "axe-core";
import type { TSchema } from "typebox";
import { Compile } from "typebox/compile";
import { CONSUMER_SECTIONS, type DeadLetters, DeadLetterSchema } from "../../shared/api-schema.ts";
import { freePorts } from "../../shared/runtime/free-port.ts";
import { startChromium, Visit, whyNoChromium } from "../support/browser.ts";
import { TestPipeline } from "../support/pipeline.ts";
import { type PostgresServer, startPostgres } from "../support/postgres.ts";
import { browserTest } from "../support/requirements.ts";

const EVENTS = 6000;
const MEGABYTE = 1_000_000;
const bytes = (text: string) => new TextEncoder().encode(text);

/** Payloads that are no events, and that try to run or to mislead. */
const HOSTILE = {
  script: '<script>document.title = "owned"; window.owned = 1</script>',
  image: '{"event_id":"<img src=x onerror=window.owned=2>","user_id":"\\"><svg onload=alert(1)>"}',
  tag: "</pre></details><h1>owned</h1>{{7*7}}",
  direction: "abc\u202edcba\u0000\u0007\u001b[31m",
} as const;
const NOT_UTF8 = new Uint8Array([0xff, 0xfe, 0x3c, 0x62, 0x3e]);

let browser: Browser;
let server: PostgresServer;
let pipeline: TestPipeline;
let port = 0;
let consumer: ReturnType<TestPipeline["consumer"]>;

beforeAll(async () => {
  if (whyNoChromium() !== undefined) return;
  [browser, server] = await Promise.all([startChromium(), startPostgres()]);
  pipeline = await TestPipeline.start({
    database: await server.database(),
    producer: { "message.max.bytes": String(2 * MEGABYTE) },
  });
  [port = 0] = await freePorts(1);
  consumer = startConsumer();
  await pipeline.publish(EVENTS);
  await pipeline.drained();
  // They are the newest dead letters.
  await pipeline.send([
    ...Object.values(HOSTILE).map((value) => ({ key: bytes("<b>key</b>"), value: bytes(value) })),
    { value: NOT_UTF8 },
    { value: undefined },
    { value: bytes(`<i>${"x".repeat(MEGABYTE)}`) },
  ]);
  await pipeline.until("every record is consumed", async () => (await pipeline.consumed()) === EVENTS + 7);
}, 60_000);

afterAll(async () => {
  await pipeline?.[Symbol.asyncDispose]();
  await server?.[Symbol.asyncDispose]();
  await browser?.close();
}, 30_000);

/** Starts a consumer that does not ask a Prometheus of this machine. */
function startConsumer(): ReturnType<TestPipeline["consumer"]> {
  return pipeline.consumer({
    METRICS_PORT_CONSUMER: String(port),
    PROMETHEUS_URL: "http://localhost:1",
    // The least that a broker accepts, so that the group soon drops a consumer that was killed.
    KAFKA_CONFIG_SESSION_TIMEOUT_MS: "6000",
  });
}

browserTest(
  "the page shows the figures of the database",
  async () => {
    await using visit = await Visit.to(port, browser);
    await visit.until("the status is well", async () => (await visit.headline()) === "All is well");
    const [sums] = await pipeline.database.sql<[Record<string, string>]>`
    select sum(consumed)::text as consumed, sum(stored)::text as stored, sum(duplicates)::text as duplicates,
      sum(dead_lettered)::text as dead, sum(deleted)::text as deleted, sum(gaps)::text as gaps from pipeline_offsets`;
    await visit.until(
      "the stored events are shown",
      async () => (await visit.figure("Stored")) === sums["stored"],
    );
    expect(await visit.figure("Dead letters")).toBe(sums["dead"]!);
    await visit.until("the lag is 0", async () => (await visit.figure("Lag")) === "0");

    const partitions = await pipeline.database.sql`
    select partition::text, next_offset::text, consumed::text, stored::text, duplicates::text, dead_lettered::text,
      deleted::text, gaps::text, '✓' as balance from pipeline_offsets order by partition`;
    const { consumed = "", stored = "", duplicates = "", dead = "", deleted = "", gaps = "" } = sums;
    expect(await visit.table("ledger")).toEqual([
      ...partitions.map((row): string[] => Object.values(row)),
      ["all", "", consumed, stored, duplicates, dead, deleted, gaps, ""],
    ]);
    expect(Number(duplicates)).toBeGreaterThan(0);

    const hours = await pipeline.database.sql<
      { from: string; type: string; events: string; users: string }[]
    >`
    select to_char(aggregation_hour at time zone 'UTC', 'YYYY-MM-DD HH24:MI') as from, event_type as type,
      total_events::text as events, unique_users::text as users from hourly_aggregations order by 1, total_events desc, type`;
    const select = visit.page.getByLabel("hour from");
    const choices = await select.locator("option").allInnerTexts();
    expect(choices.toSorted()).toEqual([...new Set(hours.map(({ from }) => from))].toSorted());
    for (const choice of choices) {
      await select.selectOption({ label: choice });
      const shown = await visit.table("hours");
      expect(
        shown.slice(0, -1).map(([type, events, users]) => ({ from: choice, type, events, users })),
      ).toEqual(hours.filter(({ from }) => from === choice));
    }
    expect(visit.offences).toEqual([]);
  },
  60_000,
);

browserTest(
  "the page shows hostile payloads as text, and cuts a large one",
  async () => {
    await using visit = await Visit.to(port, browser);
    const letters = visit.page.locator(".letters details");
    await visit.until("the dead letters are shown", async () => (await letters.count()) === 20);
    const shown = async (reason: string, beginning: string): Promise<string> => {
      const letter = letters.filter({ has: visit.page.locator(".preview", { hasText: beginning }) }).first();
      expect(await letter.locator(".reason").innerText()).toBe(reason);
      await letter.locator("summary").click();
      await letter.locator("pre").first().waitFor();
      return await letter.locator(".letter").innerText();
    };
    const script = await shown("not_json", "<script>");
    expect(script).toContain(HOSTILE.script);
    expect(script).toContain("<b>key</b>");
    expect(await shown("missing_field", "<img src=x")).toContain(HOSTILE.image);
    expect(await shown("not_json", "</pre>")).toContain(HOSTILE.tag);
    expect(await shown("not_json", "abc")).toContain("abc\\u{202e}dcba\\u{0}\\u{7}\\u{1b}[31m");
    expect(await shown("not_utf8", "ff fe")).toContain("ff fe 3c 62 3e");
    const large = await shown("not_json", "<i>x");
    expect(large).toContain("1.0 MB, cut");
    expect(large.length).toBeLessThan(9000);
    await letters.filter({ hasText: "tombstone" }).first().locator("summary").click();

    // Time for an event handler of the payloads to run, if one had been created.
    await Bun.sleep(300);
    expect(await visit.page.evaluate("window.owned")).toBeUndefined();
    expect(await visit.page.locator("h1").allInnerTexts()).toEqual(["consumer"]);
    expect(await visit.page.locator("main img, main svg, main script, main i").count()).toBe(0);
    expect(visit.offences).toEqual([]);
  },
  60_000,
);

browserTest(
  "the page shows that the connection is lost, and resumes after a restart of the consumer",
  async () => {
    await using visit = await Visit.to(port, browser);
    await visit.until("the page is live", async () =>
      (await visit.page.locator(".clock").innerText()).includes("live"),
    );
    await visit.until("the status is well", async () => (await visit.headline()) === "All is well");
    const lost = visit.page.getByRole("alert").filter({ hasText: "Connection lost at" });
    expect(await lost.count()).toBe(0);

    // Frozen: the connection stays open and silent.
    consumer.program.signal("SIGSTOP");
    await lost.waitFor();
    consumer.program.signal("SIGCONT");
    await lost.waitFor({ state: "hidden" });

    consumer.program.signal("SIGKILL");
    await consumer.program.exit();
    await lost.waitFor();
    await visit.until("the tab shows the loss", async () =>
      (await visit.page.title()).includes("connection lost"),
    );
    expect(await visit.page.locator(".stale .status").count()).toBe(1);
    expect(await visit.figure("Stored")).not.toBe("–");

    // Another program takes the port: after such an answer the browser does not reconnect itself.
    let refused = 0;
    const other = Bun.serve({
      port,
      hostname: "127.0.0.1",
      fetch: () => new Response(`${++refused}`, { status: 503 }),
    });
    await visit.until("the other program has refused the browser", async () => refused > 0);
    await other.stop(true);

    consumer = startConsumer();
    await lost.waitFor({ state: "hidden" });
    expect(await visit.page.locator(".stale").count()).toBe(0);
    await pipeline.publish(500);
    const stored = async () => {
      const [row] = await pipeline.database.sql`select sum(stored)::text as stored from pipeline_offsets`;
      return String(row?.["stored"]);
    };
    await visit.until(
      "the new events are shown",
      async () =>
        (await visit.figure("Stored")) === (await stored()) && (await pipeline.consumed()) === EVENTS + 507,
      60_000,
    );
    // The browser itself reports refused connections; nothing else may be reported.
    expect(
      visit.offences.filter((offence) => !/net::ERR_(?:CONNECTION|INCOMPLETE)|status of 503/.test(offence)),
    ).toEqual([]);
  },
  120_000,
);

browserTest(
  "the page shows that PostgreSQL is unavailable, and stays live",
  async () => {
    await using visit = await Visit.to(port, browser);
    await visit.until("the status is well", async () => (await visit.headline()) === "All is well");
    const before = await visit.figure("Stored");
    await server.stop("immediate");
    await visit.until("the status is trouble", async () => (await visit.headline()) === "Something is wrong");
    await visit.until("the tables are marked as old", async () =>
      (await visit.page.locator(".note.bad").allInnerTexts()).some((text) =>
        text.startsWith("These figures cannot be read from PostgreSQL: "),
      ),
    );
    expect(await visit.figure("Stored")).toBe(before);
    const clock = await visit.page.locator(".clock").innerText();
    await visit.until(
      "the page is live",
      async () => (await visit.page.locator(".clock").innerText()) !== clock,
    );
    expect(await visit.page.locator(".stale").count()).toBe(0);

    await server.start();
    await visit.until(
      "the status is well again",
      async () => (await visit.headline()) === "All is well",
      40_000,
    );
    await visit.until(
      "the tables are current",
      async () => (await visit.page.locator(".note.bad").count()) === 0,
    );
    expect(visit.offences).toEqual([]);
  },
  120_000,
);

for (const colorScheme of ["light", "dark"] as const) {
  browserTest(
    `the page is accessible (${colorScheme})`,
    async () => {
      await using visit = await Visit.to(port, browser, { colorScheme });
      const { page } = visit;
      await visit.until("the status is well", async () => (await visit.headline()) === "All is well", 40_000);
      await page.keyboard.press("Tab");
      expect(await page.locator(":focus").innerText()).toBe("Skip to the figures");
      await page.locator(".letters summary").first().click();
      await page.locator(".letters pre").first().waitFor();
      await page.evaluate(axe.source);
      const found = await page.evaluate<{ violations: { id: string; nodes: { html: string }[] }[] }>(
        "axe.run()",
      );
      expect(
        found.violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" ")}`),
      ).toEqual([]);
      expect(await page.locator("header, main, footer").count()).toBe(3);

      // By keyboard alone, with a visible focus.
      const summary = page.locator(".letters summary").nth(1);
      await summary.focus();
      await page.keyboard.press("Shift+Tab");
      await page.keyboard.press("Tab");
      expect(await page.evaluate<string>("getComputedStyle(document.activeElement).outlineStyle")).toBe(
        "solid",
      );
      await page.keyboard.press("Enter");
      await page.locator(".letters details[open]").nth(1).waitFor();
      await page.getByLabel("hour from").focus();
      const hour = await page.getByLabel("hour from").inputValue();
      await page.keyboard.press("ArrowDown");
      expect(await page.getByLabel("hour from").inputValue()).not.toBe(hour);
      expect(visit.offences).toEqual([]);
    },
    60_000,
  );
}

browserTest(
  "the page fits narrow screens",
  async () => {
    for (const width of [1280, 820, 360]) {
      await using visit = await Visit.to(port, browser, { viewport: { width, height: 780 } });
      await visit.until("the status is well", async () => (await visit.headline()) === "All is well");
      await visit.page.locator(".letters summary").first().click();
      await visit.page.locator(".letters pre").first().waitFor();
      expect([width, await visit.overflows()]).toEqual([width, false]);
      expect(visit.offences).toEqual([]);
    }
  },
  60_000,
);

browserTest(
  "/api of the consumer matches its description",
  async () => {
    const get = (path: string) => fetch(`http://localhost:${port}${path}`);
    for (const [name, schema] of Object.entries(CONSUMER_SECTIONS)) {
      const answer: unknown = await (await get(`/api/${name}`)).json();
      expect([name, Compile<TSchema>(schema).Errors(answer)]).toEqual([name, []]);
    }
    const letters = (await (await get("/api/dead-letters")).json()) as DeadLetters;
    const large = letters.newest.find(({ value }) => (value?.bytes ?? 0) > MEGABYTE);
    const { topic = "", topicId = "", partition = 0, offset = 0 } = large ?? {};
    const letter = await get(`/api/dead-letters/${topic}/${topicId}/${partition}/${offset}`);
    const whole: unknown = await letter.json();
    expect(Compile(DeadLetterSchema).Errors(whole)).toEqual([]);
    expect(whole).toMatchObject({ offset, value: { bytes: MEGABYTE + 3, isCut: true, form: "text" } });
    expect((await get(`/api/dead-letters/${topic}/${topicId}/${partition}/999999`)).status).toBe(404);
  },
  30_000,
);
