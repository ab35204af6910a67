// Gets a token for SASL OAUTHBEARER from a command, and reads how long it is valid.
import { errorMessage } from "../runtime/errors.ts";
import { runSecretCommand } from "../runtime/secret-command.ts";

export interface OauthToken {
  readonly value: string;
  /** Milliseconds since 1970. */
  readonly expiresAtMs: number;
  /** Who it is for; "" where the token does not say. */
  readonly principal: string;
}

/** For a token that does not say: librdkafka asks for a new one after four fifths of this. */
const ASSUMED_LIFETIME_MS = 300_000;

/** By command: several clients of a thread ask at the same time. */
const running = new Map<string, Promise<OauthToken>>();

/** @throws Error with a sentence that quotes nothing of the token */
export async function fetchOauthToken(command: string): Promise<OauthToken> {
  const fetching = running.get(command) ?? fetchNew(command).finally(() => running.delete(command));
  running.set(command, fetching);
  return await fetching;
}

async function fetchNew(command: string): Promise<OauthToken> {
  try {
    return parseOauthToken(await runSecretCommand(command), Date.now());
  } catch (error) {
    throw new Error(`the command of KAFKA_OAUTH_TOKEN_COMMAND ${errorMessage(error)}`, { cause: error });
  }
}

/**
 * Reads what a command may print: a token alone (a JWT, one of Amazon MSK, any other), or the JSON of a token endpoint
 * (`access_token`, `expires_in`) or of Azure's command line (`accessToken`, `expires_on`).
 * @param nowMs milliseconds since 1970
 * @throws Error with a clause to stand after "the command"
 */
export function parseOauthToken(output: string, nowMs: number): OauthToken {
  const text = output.trim();
  const answer = text.startsWith("{") ? objectOf(text) : undefined;
  const value = answer === undefined ? text : textAt(answer, "access_token", "accessToken", "token");
  if (value === undefined) throw new Error("printed JSON without access_token, accessToken or token");
  if (/\s/.test(value)) throw new Error("printed more than a token: text with white space");
  const claims = claimsOf(value);
  const expiresAtMs =
    expiryOfAnswer(answer ?? {}, nowMs) ??
    secondsAt(claims, "exp") ??
    expiryOfSignedUrl(value) ??
    nowMs + ASSUMED_LIFETIME_MS;
  if (expiresAtMs <= nowMs) throw new Error("printed a token that has expired already");
  return { value, expiresAtMs, principal: textAt(claims, "sub") ?? "" };
}

function expiryOfAnswer(answer: object, nowMs: number): number | undefined {
  const expiresInMs = secondsAt(answer, "expires_in");
  return expiresInMs === undefined ? secondsAt(answer, "expires_on") : nowMs + expiresInMs;
}

/** The second part of a JWT. */
function claimsOf(token: string): object {
  const [, claims] = token.split(".");
  return (claims === undefined ? undefined : objectOf(decoded(claims))) ?? {};
}

/** A token of Amazon MSK is a signed URL that says when it was made, and for how many seconds. */
function expiryOfSignedUrl(token: string): number | undefined {
  const url = decoded(token);
  if (!URL.canParse(url)) return undefined;
  const { searchParams } = new URL(url);
  const [, date, time] = /^(\d{8})T(\d{6})Z$/.exec(searchParams.get("X-Amz-Date") ?? "") ?? [];
  if (date === undefined || time === undefined) return undefined;
  const pairs = (digits: string): string[] => digits.match(/\d\d/g) ?? [];
  const [century, year, month, day] = pairs(date);
  const madeAtMs = Date.parse(`${century}${year}-${month}-${day}T${pairs(time).join(":")}Z`);
  const expiresAtMs = madeAtMs + Number(searchParams.get("X-Amz-Expires")) * 1000;
  return Number.isNaN(expiresAtMs) ? undefined : expiresAtMs;
}

function decoded(base64url: string): string {
  return Buffer.from(base64url, "base64url").toString();
}

function objectOf(text: string): object | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}

function textAt(object: object, ...names: string[]): string | undefined {
  const values = names.map((name): unknown => Object.getOwnPropertyDescriptor(object, name)?.value);
  return values.find((value): value is string => typeof value === "string" && value !== "");
}

/** Seconds, as a number or as text, in milliseconds. */
function secondsAt(object: object, name: string): number | undefined {
  const value: unknown = Object.getOwnPropertyDescriptor(object, name)?.value;
  const seconds = typeof value === "string" && value !== "" ? Number(value) : value;
  return typeof seconds === "number" && Number.isFinite(seconds) ? seconds * 1000 : undefined;
}
