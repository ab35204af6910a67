// A request in; whether the console may answer it out. It shows payloads and has no password.

/** Who may see the console: those on this machine, or anyone who reaches the port. */
export type ConsoleAccess = "this_machine" | "anyone";

export const REFUSAL =
  "The console answers only on this machine, by the name localhost: it shows the payloads of dead letters and has no " +
  "password. To let others see it, set HTTP_HOST to the address to listen on (0.0.0.0 for all). " +
  "/metrics, /healthz and /readyz answer everyone.\n";

export interface Caller {
  /** The other end of the connection; undefined where it is unknown. */
  readonly address: string | undefined;
  readonly headers: Headers;
}

/**
 * Whether a request comes from this machine and means it. Asked for by another name than localhost it does not: a
 * page that a browser here has open can give its own domain this machine's address (DNS rebinding). What a proxy
 * forwards may come from anywhere.
 */
export function isFromThisMachine({ address, headers }: Caller): boolean {
  if (address === undefined || !isLoopback(address)) return false;
  if (headers.has("forwarded") || headers.has("x-forwarded-for")) return false;
  return isLocalName(headers.get("host") ?? "");
}

/**
 * Whether a page of another site asks, other than by a link to here: it could not read the answer, but it could have
 * the database asked, and take the streams away from those who watch.
 */
export function isFromAnotherSite(headers: Headers): boolean {
  const site = headers.get("sec-fetch-site");
  if (site === null || site === "same-origin" || site === "none") return false;
  return headers.get("sec-fetch-mode") !== "navigate";
}

/** 127.0.0.0/8 and ::1, the former also as IPv6 writes it. */
export function isLoopback(address: string): boolean {
  return /^(?:::ffff:)?127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/i.test(address) || address === "::1";
}

/** @param host as in the header: name or address, maybe with a port */
function isLocalName(host: string): boolean {
  const name = /^(\[[^\]]*\]|[^:]*)(?::\d+)?$/.exec(host)?.[1]?.toLowerCase();
  if (name === undefined) return false;
  return name === "localhost" || isLoopback(name.replace(/^\[|\]$/g, ""));
}
