// Reads what one `bun test` reports: its JUnit file, and its output.

export interface TestReport {
  readonly passed: number;
  readonly failed: number;
  /** The names of the tests that failed; none where a file did not load, or its process died. */
  readonly failures: readonly string[];
  /** The names of the skipped tests, which say why. */
  readonly skipped: readonly string[];
}

/**
 * @param junit the report; undefined where none was written (the file did not load, or its process died)
 * @param exitCode of the process; one that is not 0 counts as a failure even when no test is to blame
 */
export function readTestReport(junit: string | undefined, exitCode: number): TestReport {
  const root = /<testsuites\b[^>]*>/.exec(junit ?? "")?.[0] ?? "";
  const count = (attribute: string) => Number(new RegExp(` ${attribute}="(\\d+)"`).exec(root)?.[1] ?? "0");
  const named = (outcome: "failure" | "skipped") =>
    (junit ?? "")
      .matchAll(new RegExp(`<testcase name="([^"]*)"[^>]*>\\s*<${outcome}`, "g"))
      .map((match) => unescapeXml(match[1]!))
      .toArray();
  const failed = count("failures");
  return {
    passed: count("tests") - failed - count("skipped"),
    failed: exitCode !== 0 && failed === 0 ? 1 : failed,
    failures: named("failure"),
    skipped: named("skipped"),
  };
}

const EXCERPT_LINES = 30;

/** The last lines that each failed test printed, or those of the whole output where no test is to blame. */
export function failureExcerpts(output: string): string {
  // After a file with many tests, Bun lists the names of those that failed once more.
  const lines = output
    .trimEnd()
    .replace(/^\d+ tests failed:$[^]*/m, "")
    .trimEnd()
    .split("\n");
  const isEnd = (line: string) => /^\((pass|fail|skip|todo)\) /.test(line);
  const ends = lines.flatMap((line, index) => (line.startsWith("(fail) ") ? [index] : []));
  if (ends.length === 0) return lines.slice(-EXCERPT_LINES).join("\n");
  return ends
    .map((end) => {
      const start = lines.slice(0, end).findLastIndex(isEnd) + 1;
      return lines.slice(Math.max(start, end - EXCERPT_LINES), end + 1).join("\n");
    })
    .join("\n");
}

function unescapeXml(text: string): string {
  const named: Record<string, string> = { lt: "<", gt: ">", quot: '"', apos: "'", amp: "&" };
  return text.replaceAll(
    /&(?:#(\d+)|(\w+));/g,
    (entity, code: string | undefined, name: string | undefined) =>
      code === undefined ? (named[name!] ?? entity) : String.fromCodePoint(Number(code)),
  );
}
