import { afterEach, beforeEach, describe, expect, jest, test } from "bun:test";
import { NO_COLORS } from "../../workers/demo/colors.ts";
import { StartupLog } from "../../workers/demo/startup-log.ts";

beforeEach(() => void jest.useFakeTimers());
afterEach(() => void jest.useRealTimers());

function startupLog(columns?: number) {
  const written: string[] = [];
  const startup = new StartupLog({
    palette: NO_COLORS,
    columns,
    write: (text) => written.push(text),
    nowMs: () => 1234,
  });
  return { startup, written: () => written.join("") };
}

describe("the startup log", () => {
  test("prints a completed step with its time", () => {
    const { startup, written } = startupLog();
    startup.done("Kafka", "127.0.0.1:1");
    expect(written()).toBe("   1.23 s  Kafka       127.0.0.1:1\n");
  });

  test("does not show the progress of quick work", async () => {
    const { startup, written } = startupLog();
    const result = await startup.watch(async (say) => {
      say("looking around");
      jest.advanceTimersByTime(200);
      return 1;
    });
    jest.advanceTimersByTime(5000);
    expect(result).toBe(1);
    expect(written()).toBe("");
  });

  test.each([
    [
      "as a line",
      undefined,
      "           building the library for you\n   1.23 s  another     \n   1.23 s  built       \n",
    ],
    [
      "in place on a terminal",
      30,
      "\r\x1b[K      0 s  building the libr…" +
        "\r\x1b[K   1.23 s  another     \n      0 s  building the libr…" +
        "\r\x1b[K      1 s  building the libr…" +
        "\r\x1b[K   1.23 s  built       \n",
    ],
  ])("shows the progress of long work %s", async (_, columns, expected) => {
    const { startup, written } = startupLog(columns);
    await startup.watch(async (say) => {
      say("building the library for you");
      jest.advanceTimersByTime(500);
      startup.done("another");
      jest.advanceTimersByTime(1000);
    });
    startup.done("built");
    startup.end();
    startup.done("too late");
    expect(written()).toBe(expected);
  });
});
