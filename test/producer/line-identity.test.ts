import { describe, expect, test } from "bun:test";
import { LineIdentifier } from "../../shared/producer/line-identity.ts";

describe("the identity of a line", () => {
  test.each([
    ['{"user_id":"user_1","event_type":"click"}', "user_1", "click"],
    ['{"user_id":"ünïcode"}\r', "ünïcode", undefined],
    ['{"user_id":7}', undefined, undefined],
    ['{"user_id":""}', undefined, undefined],
    ['["user_id"]', undefined, undefined],
    ['"user_id"', undefined, undefined],
    ["null", undefined, undefined],
    ["{user_id", undefined, undefined],
    ['{"user_id":"a","user_id":"b"}', "b", undefined],
    ['  {"event_type":"\\u0063lick", "user\\u005fid":"a\\"b"} ', 'a"b', "click"],
  ])("%s has the key %p", (line, userId, eventType) => {
    expect(new LineIdentifier().identify(Buffer.from(line))).toEqual({ userId, eventType });
  });

  test("is empty for a line that is not UTF-8", () => {
    const line = Buffer.concat([Buffer.from('{"user_id":"'), Buffer.from([0xff]), Buffer.from('"}')]);
    expect(new LineIdentifier().identify(line).userId).toBeUndefined();
  });

  test("is that of a line of any length, and takes little memory", () => {
    const identifier = new LineIdentifier();
    // JSON.parse takes 800 times the size of an object with such keys.
    const keys = Array.from({ length: 500_000 }, (_, n) => `"${n}":0`).join();
    const line = Buffer.from(`{"data":{${keys}},"user_id":"user_1"}`);
    const before = process.memoryUsage().rss;
    expect(identifier.identify(line).userId).toBe("user_1");
    expect(identifier.identify(Buffer.from('{"user_id":"user_2"}')).userId).toBe("user_2");
    expect(process.memoryUsage().rss - before).toBeLessThan(5 * line.length);
  });
});
