// Probes whether addresses have a meaning on this machine, and whether something listens there.
import { lookup } from "node:dns/promises";
import { connect } from "node:net";
import { codeOf, errorMessage } from "../../shared/runtime/errors.ts";
import { failed, type Finding, ok, warning } from "./finding.ts";

export interface Address {
  readonly host: string;
  readonly port: number;
}

const CONNECT_DEADLINE_MS = 5000;

/**
 * @param where what has these addresses: the variable, or those who named them
 * @param advice what to do about one that does not work
 * @returns failed where none works, a warning where some do
 */
export async function probeAddresses(
  name: string,
  addresses: readonly Address[],
  { where, advice }: { readonly where: string; readonly advice: string },
): Promise<Finding> {
  const faults = await Promise.all(addresses.map(faultOf));
  const problems = faults.filter((fault) => fault !== undefined);
  const list = addresses.map(addressText).join(", ");
  if (problems.length === 0) return ok(name, `${list}: connected`);
  const detail = `${where}: ${problems.join("; ")}. ${advice}`;
  return problems.length === addresses.length ? failed(name, detail) : warning(name, detail);
}

/** What is wrong with an address, in words; undefined where something listens there. */
async function faultOf(address: Address): Promise<string | undefined> {
  try {
    await lookup(address.host);
  } catch (error) {
    return `the name ${address.host} is not known on this machine (${codeOf(error) ?? errorMessage(error)})`;
  }
  try {
    await connectTo(address);
    return undefined;
  } catch (error) {
    return `${addressText(address)} cannot be connected to (${codeOf(error) ?? errorMessage(error)})`;
  }
}

function connectTo({ host, port }: Address): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const socket = connect({ host, port });
  socket.setTimeout(CONNECT_DEADLINE_MS, () =>
    reject(new Error(`no answer in ${CONNECT_DEADLINE_MS / 1000} s`)),
  );
  socket.once("connect", () => resolve());
  socket.once("error", reject);
  return promise.finally(() => socket.destroy());
}

/** "host:port", an IPv6 address in brackets. */
export function addressText({ host, port }: Address): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

/** @param text "host:port" with an IPv6 address in brackets */
export function parseAddress(text: string): Address {
  const colon = text.lastIndexOf(":");
  return { host: text.slice(0, colon).replace(/^\[(.*)\]$/, "$1"), port: Number(text.slice(colon + 1)) };
}
