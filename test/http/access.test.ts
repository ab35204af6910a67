import { describe, expect, test } from "bun:test";
import { Hono } from "hono";
import { type Access, refusalOf } from "../../shared/http/access.ts";

/** Whether a request with these headers is admitted that comes from this address. */
async function isAdmitted(
  headers: Record<string, string>,
  { access = "this_machine", address = "127.0.0.1", host = "0.0.0.0" }: Partial<Request> = {},
): Promise<boolean> {
  const app = new Hono().get("/", (context) => {
    const refusal = refusalOf(context, access, host);
    return refusal === undefined ? context.text("admitted") : context.text(refusal, 403);
  });
  const from = address === "" ? null : { address, family: address.includes(":") ? "IPv6" : "IPv4" };
  const { status } = await app.request("/", { headers }, { server: { requestIP: () => from } });
  return status === 200;
}

interface Request {
  readonly access: Access;
  /** "" = unknown, because the connection is gone. */
  readonly address: string;
  /** The address that the server listens on. */
  readonly host: string;
}

describe("this machine", () => {
  test.each([
    "localhost",
    "localhost:8002",
    "LOCALHOST:8002",
    "127.0.0.1:8002",
    "127.0.0.53",
    "[::1]:8002",
    "[::1]",
  ])("is admitted under the name %s", async (host) => {
    for (const address of ["127.0.0.1", "::1", "::ffff:127.0.0.1"]) {
      expect([address, await isAdmitted({ host }, { address })]).toEqual([address, true]);
    }
  });

  test.each([
    "evil.example",
    "localhost.evil.example",
    "evil.example:8002",
    "127.0.0.1.evil.example",
    "evil@localhost",
    "",
    "192.0.2.1",
    "[::2]",
    "a:b:c",
  ])("is refused under the name %j", async (host) => {
    expect(await isAdmitted({ host })).toBe(false);
  });

  // 127.0.0.6 is where a service mesh forwards from.
  test.each([
    "192.0.2.1",
    "10.0.0.1",
    "127.0.0.6",
    "::2",
    "128.0.0.1",
    "::ffff:10.0.0.1",
    "127.0.0.1.evil",
    "",
  ])("is not an address such as %j", async (address) => {
    expect(await isAdmitted({ host: "localhost" }, { address })).toBe(false);
  });

  test.each([
    "Forwarded",
    "Via",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Proto",
    "X-Forwarded-Server",
    "X-Real-IP",
    "X-Client-IP",
    "True-Client-IP",
    "CF-Connecting-IP",
    "Fastly-Client-IP",
    "X-Envoy-External-Address",
  ])("is not what a proxy forwards with the header %s", async (name) => {
    expect(await isAdmitted({ host: "localhost", [name]: "192.0.2.1" })).toBe(false);
  });
});

describe("anyone", () => {
  const admits = (host: string, own = "0.0.0.0") =>
    isAdmitted(
      { host, "x-forwarded-for": "192.0.2.1" },
      { access: "anyone", address: "192.0.2.1", host: own },
    );

  test.each([
    "localhost:8002",
    "192.0.2.1",
    "192.0.2.1:8002",
    "[2001:db8::1]:8002",
    "consumer",
    "consumer:8002",
    "event-pipeline_consumer-1:8002",
    "pipeline.localhost",
    "macbook.local:8002",
    "consumer.pipeline.svc.cluster.local",
    "ip-10-0-0-1.eu-west-1.compute.internal:8002",
  ])("may use the name %s", async (host) => {
    expect(await admits(host)).toBe(true);
  });

  test.each([
    "attacker.example",
    "attacker.example:8002",
    "192.0.2.1.attacker.example",
    "local.attacker.example",
    "[::1].attacker.example",
    "consumer.",
    "a b",
    "",
  ])("may not use the name %j, which may be a website's", async (host) => {
    expect(await admits(host)).toBe(false);
  });

  test("may use the name that the server listens on", async () => {
    expect(await admits("Pipeline.Example:8002", "pipeline.example")).toBe(true);
    expect(await admits("www.pipeline.example:8002", "pipeline.example")).toBe(false);
  });
});
