import { describe, expect, test } from "bun:test";
import { readOptions } from "../../workers/demo/options.ts";

describe("the demo's options", () => {
  test("have defaults", () => {
    expect(readOptions({})).toEqual({ seconds: undefined, rate: 1000 });
    expect(readOptions({ seconds: "2.5", rate: "50" })).toEqual({ seconds: 2.5, rate: 50 });
    expect(readOptions({ rate: "unlimited" })).toEqual({ seconds: undefined, rate: Infinity });
  });

  test.each([{ seconds: "0" }, { seconds: "soon" }, { rate: "-1" }, { rate: "" }, { rate: "1e9" }])(
    "refuse %p",
    (values) => {
      expect(() => readOptions(values)).toThrow("--help");
    },
  );

  test("report every problem at once", () => {
    expect(() => readOptions({ seconds: "x", rate: "y" })).toThrow(/--seconds x: .*\n--rate y: /);
  });
});
