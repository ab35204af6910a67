import { expect, test } from "bun:test";
import { MAX_VALUE_BYTES } from "../../shared/pipeline/event-reader.ts";
import { isRejection } from "../../shared/pipeline/rejection.ts";
import { eventTextWith, readText } from "./record.ts";

const MIB = 2 ** 20;
/** JSON.parse takes about 850 MiB for one of the records below with keys that are array indexes. */
const MAX_GROWTH = 100 * MIB;

/** An event of almost the largest size, with this item as often as it fits into event_data. */
function largeEvent(item: string): string {
  const room = MAX_VALUE_BYTES - eventTextWith('{"a":[1]}').length;
  return eventTextWith(
    `{"a":[${Array(Math.floor(room / (item.length + 1)))
      .fill(item)
      .join()}]}`,
  );
}

test.each<[what: string, item: string]>([
  ["keys that are array indexes", '{"999":1}'],
  ["escapes", '"\\u00e9\\n"'],
  ["empty objects", "{}"],
  ["nested arrays", "[[[[1]]]]"],
  ["numbers", "1.5e3"],
  ["repeated keys", '{"a":1,"a":2}'],
])("a record of 1 MiB takes a few MiB of memory when it is full of %s", (_what, item) => {
  const text = largeEvent(item);
  const before = process.memoryUsage.rss();
  for (let read = 0; read < 4; read++) {
    expect(isRejection(readText(text))).toBe(false);
    // A damaged end must cost no more than a valid one, nor must a wrong member.
    expect(readText(text.slice(0, -1))).toMatchObject({ reason: "not_json" });
    expect(readText(text.replace("user_7", ""))).toMatchObject({ reason: "out_of_range" });
  }
  expect(process.memoryUsage.rss() - before).toBeLessThan(MAX_GROWTH);
});
