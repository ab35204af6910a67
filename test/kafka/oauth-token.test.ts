import { describe, expect, test } from "bun:test";
import { fetchOauthToken, parseOauthToken } from "../../shared/kafka/oauth-token.ts";
import { rejection } from "../support/rejection.ts";

const NOW = Date.UTC(2026, 0, 1);
const LATER = NOW / 1000 + 600;

function jwt(claims: object): string {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
  return `${part({ alg: "none" })}.${part(claims)}.`;
}

describe("the output of a command for tokens", () => {
  test("is a JWT, which says how long it is valid and for whom", () => {
    const value = jwt({ sub: "app", exp: LATER });
    expect(parseOauthToken(`${value}\n`, NOW)).toEqual({
      value,
      expiresAtMs: NOW + 600_000,
      principal: "app",
    });
  });

  test("is the JSON of a token endpoint, or of Azure's command line", () => {
    expect(parseOauthToken('{"access_token":"abc","expires_in":900}', NOW)).toMatchObject({
      value: "abc",
      expiresAtMs: NOW + 900_000,
    });
    expect(parseOauthToken(`{"accessToken":"abc","expires_on":"${LATER}"}`, NOW)).toMatchObject({
      value: "abc",
      expiresAtMs: NOW + 600_000,
    });
  });

  test("is a token of Amazon MSK, a signed URL", () => {
    const url =
      "https://kafka.eu-west-1.amazonaws.com/?Action=kafka-cluster%3AConnect&X-Amz-Date=20260101T000000Z&X-Amz-Expires=900";
    const value = Buffer.from(url).toString("base64url");
    expect(parseOauthToken(value, NOW)).toMatchObject({ value, expiresAtMs: NOW + 900_000 });
  });

  test("is valid for five minutes where nothing says how long", () => {
    expect(parseOauthToken("opaque", NOW)).toEqual({
      value: "opaque",
      expiresAtMs: NOW + 300_000,
      principal: "",
    });
  });

  test.each([
    [jwt({ exp: NOW / 1000 - 1 }), "has expired already"],
    ['{"error":"denied"}', "JSON without access_token"],
    ["Login succeeded\nabc", "more than a token"],
  ])("is refused: %s", (output, reason) => {
    expect(() => parseOauthToken(output, NOW)).toThrow(reason);
  });

  test("is not quoted when the command fails", async () => {
    const failure = await rejection(fetchOauthToken("echo s3cret; echo no login >&2; exit 3"));
    expect(failure.message).toBe("the command of KAFKA_OAUTH_TOKEN_COMMAND ended with exit code 3: no login");
  });

  test("serves all who ask at the same time", async () => {
    const command = 'printf %s "$(date +%N)-$$"';
    const tokens = await Promise.all([1, 2, 3].map(() => fetchOauthToken(command)));
    expect(new Set(tokens.map(({ value }) => value)).size).toBe(1);
    expect((await fetchOauthToken(command)).value).not.toBe(tokens[0]!.value);
  });
});
