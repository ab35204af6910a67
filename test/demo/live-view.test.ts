import { describe, expect, test } from "bun:test";
import { readable } from "../../workers/demo/consumer-process.ts";
import { NO_COLOURS } from "../../workers/demo/colors.ts";
import { Screen } from "../../workers/demo/screen.ts";
import { Steps } from "../../workers/demo/startup-log.ts";
import { readOptions } from "../../workers/demo/options.ts";

class FakeTerminal {
  columns = 80;
  rows = 3;
  written = "";

  write(text: string): void {
    this.written += text;
  }
}

const ALTERNATE_SCREEN = ["\x1b[?1049h", "\x1b[?1049l"] as const;

describe("the screen", () => {
  test("is taken once and given back once", () => {
    const terminal = new FakeTerminal();
    const screen = new Screen(terminal);
    screen.open();
    screen.open();
    screen.close();
    screen.close();
    screen.draw(["too late"]);
    for (const sequence of ALTERNATE_SCREEN) expect(terminal.written.split(sequence)).toHaveLength(2);
    expect(terminal.written).not.toContain("too late");
  });

  test("is drawn over in place, in one piece, without being cleared first", () => {
    const terminal = new FakeTerminal();
    const screen = new Screen(terminal);
    screen.open();
    terminal.written = "";
    screen.draw(["one", "two", "three", "four"]);
    expect(terminal.written).toStartWith("\x1b[?2026h\x1b[H");
    expect(terminal.written).toContain("one\x1b[K\r\ntwo\x1b[K\r\nthree\x1b[K\x1b[J");
    expect(terminal.written).not.toContain("four");
    expect(terminal.written).not.toContain("\x1b[2J");
    screen.close();
  });

  test("is 80 by 24 where the terminal does not say", () => {
    const screen = new Screen(Object.assign(new FakeTerminal(), { columns: 0, rows: 0 }));
    expect([screen.columns, screen.rows]).toEqual([80, 24]);
  });
});

describe("the steps of the start", () => {
  const stepsTo = (columns?: number) => {
    const terminal = new FakeTerminal();
    const steps = new Steps({
      ink: NO_COLOURS,
      columns,
      write: (text) => terminal.write(text),
      nowMs: () => 1234,
    });
    return { terminal, steps };
  };

  test("have their time", () => {
    const { terminal, steps } = stepsTo();
    steps.done("Kafka", "127.0.0.1:1");
    expect(terminal.written).toBe("   1.23 s  Kafka       127.0.0.1:1\n");
  });

  test("what is said of quick work is not shown", async () => {
    const { terminal, steps } = stepsTo();
    const said = steps.watch(async (say) => {
      say("looking around");
      return 1;
    });
    expect(await said).toBe(1);
    await Bun.sleep(400);
    expect(terminal.written).toBe("");
  });

  test("what is said of long work is: as a line, or on a terminal in place", async () => {
    for (const columns of [undefined, 30]) {
      const { terminal, steps } = stepsTo(columns);
      await steps.watch(async (say) => {
        say("building, which takes its time");
        await Bun.sleep(500);
        steps.done("another");
      });
      steps.done("built");
      steps.end();
      steps.done("too late");
      expect(terminal.written).toBe(
        columns === undefined
          ? "           building, which takes its time\n   1.23 s  another     \n   1.23 s  built       \n"
          : "\r\x1b[K      0 s  building, which t…" +
              "\r\x1b[K   1.23 s  another     \n      0 s  building, which t…" +
              "\r\x1b[K   1.23 s  built       \n",
      );
    }
  });
});

describe("the command line", () => {
  test("has defaults", () => {
    expect(readOptions({})).toEqual({ seconds: undefined, rate: 1000 });
    expect(readOptions({ seconds: "2.5", rate: "50" })).toEqual({ seconds: 2.5, rate: 50 });
    expect(readOptions({ rate: "unlimited" })).toEqual({ seconds: undefined, rate: Infinity });
  });

  test.each([{ seconds: "0" }, { seconds: "soon" }, { rate: "-1" }, { rate: "" }, { rate: "1e9" }])(
    "refuses %p",
    (values) => {
      expect(() => readOptions(values)).toThrow("--help");
    },
  );

  test("all that is wrong is said at once", () => {
    expect(() => readOptions({ seconds: "x", rate: "y" })).toThrow(/--seconds x: .*\n--rate y: /);
  });
});

describe("a line of the consumer's log, for a person", () => {
  test("is time, level and message", () => {
    const line = {
      level: "error",
      time: "2026-03-14T09:26:53.123Z",
      name: "consumer",
      err: { message: "no" },
      msg: "x",
    };
    expect(readable(JSON.stringify(line))).toBe("09:26:53.123 error x: no");
  });

  test("is as it is where it is no JSON, or has no message", () => {
    expect(readable("panic: oh")).toBe("panic: oh");
    expect(readable('{"a":1}')).toBe('{"a":1}');
    expect(readable("17")).toBe("17");
  });
});
