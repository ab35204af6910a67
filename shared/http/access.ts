// Decides which requests may see more than metrics and health: payloads, addresses and errors, without a password.
import { isIP } from "node:net";
import type { Context } from "hono";
import { getConnInfo } from "hono/bun";

/** Who may see them: only this machine, or anyone who reaches the address that HTTP_HOST names. */
export type Access = "this_machine" | "anyone";

// Not all of 127.0.0.0/8: the sidecar of a service mesh connects from 127.0.0.6 for clients of other machines.
const THIS_MACHINE = new Set(["127.0.0.1", "::1", "::ffff:127.0.0.1"]);
const LOCAL_NAME = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])$/i;
/** Names that cannot be registered in the public DNS: single labels, and the domains reserved for private use. */
const PRIVATE_NAME = /^[\w-]+$|\.(?:localhost|local|internal)$/i;

/** What proxies add to the requests that they forward; besides them, all that begin with `x-forwarded-` or `x-envoy-`. */
const FORWARDING_HEADERS = [
  "forwarded",
  "via",
  "x-real-ip",
  "x-client-ip",
  "x-cluster-client-ip",
  "x-original-forwarded-for",
  "x-original-host",
  "true-client-ip",
  "cf-connecting-ip",
  "cdn-loop",
  "fastly-client-ip",
  "x-azure-clientip",
];

const REFUSAL: Readonly<Record<Access, string>> = {
  this_machine:
    "The console answers only on this machine, under the name localhost, and no proxy: it shows the payloads of dead " +
    "letters and has no password. To open it, set HTTP_HOST to the address to listen on (:: for all). " +
    "/metrics, /healthz and /readyz answer everyone.\n",
  anyone:
    "The console answers only under an address, localhost, the name in HTTP_HOST, or a name of a private network " +
    "(without a dot, or below .local or .internal): a page of a website could otherwise read it through your browser. " +
    "Behind a proxy, let the proxy send such a Host.\n",
};

/**
 * Why this request may not see them, for the person who sent it; undefined if it may.
 * @param host the address or the name that the server listens on
 */
export function refusalOf(context: Context, access: Access, host: string): string | undefined {
  const { headers } = context.req.raw;
  const name = hostName(headers.get("host") ?? "");
  const isAdmitted =
    access === "anyone"
      ? isSafeName(name, host)
      : LOCAL_NAME.test(name) && !isForwarded(headers) && isFromThisMachine(context);
  return isAdmitted ? undefined : REFUSAL[access];
}

function isFromThisMachine(context: Context): boolean {
  return THIS_MACHINE.has(getConnInfo(context).remote.address ?? "");
}

/**
 * A page in a browser can give its own domain the address of this machine, or of any other that the browser reaches (DNS
 * rebinding); its requests then have its domain as their host name.
 */
function isSafeName(name: string, host: string): boolean {
  if (name === "") return false;
  const isAddress = isIP(name.replace(/^\[(.*)\]$/, "$1")) !== 0;
  return isAddress || PRIVATE_NAME.test(name) || name.toLowerCase() === host.toLowerCase();
}

/** A request that a proxy forwards may come from anywhere. */
function isForwarded(headers: Headers): boolean {
  if (FORWARDING_HEADERS.some((name) => headers.has(name))) return true;
  return headers.keys().some((name) => /^x-(?:forwarded|envoy)-/.test(name));
}

/** The header's name or address without the port; an IPv6 address in its brackets. */
function hostName(header: string): string {
  return /^([^:]+|\[[^\]]*\])(?::\d+)?$/.exec(header)?.[1] ?? "";
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
