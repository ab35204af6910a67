// Decides which requests the console answers: it shows payloads and has no password.
import type { MiddlewareHandler } from "hono";
import { getConnInfo } from "hono/bun";
import { ipRestriction } from "hono/ip-restriction";

const LOOPBACK = ["127.0.0.0/8", "::1"];
const LOCAL_NAME = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d+)?$/i;

const REFUSAL =
  "The console answers only on this machine, under the name localhost: it shows the payloads of dead letters and has " +
  "no password. To open it, set HTTP_HOST to the address to listen on (0.0.0.0 for all). " +
  "/metrics, /healthz and /readyz answer everyone.\n";

/** Answers only connections from this machine. */
const fromLoopback = ipRestriction(getConnInfo, { allowList: LOOPBACK }, (_, context) =>
  context.text(REFUSAL, 403),
);

/** Answers only requests of this machine that ask for it by a local name. */
export const thisMachineOnly: MiddlewareHandler = async (context, next) => {
  if (!isMeantForThisMachine(context.req.raw.headers)) return context.text(REFUSAL, 403);
  return await fromLoopback(context, next);
};

/**
 * A page in a browser of this machine can give its own domain this machine's address (DNS rebinding); its requests
 * have another host name. A request that a proxy forwards may come from anywhere.
 */
export function isMeantForThisMachine(headers: Headers): boolean {
  if (headers.has("forwarded") || headers.has("x-forwarded-for")) return false;
  return LOCAL_NAME.test(headers.get("host") ?? "");
}

/**
 * True for requests by a page of another site, other than a link to the console. Such a page cannot read the answer,
 * but it could cause database queries and take the streams away from other browsers.
 */
export function isFromAnotherSite(headers: Headers): boolean {
  const site = headers.get("sec-fetch-site");
  if (site === null || site === "same-origin" || site === "none") return false;
  return headers.get("sec-fetch-mode") !== "navigate";
}
