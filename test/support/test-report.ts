// Counts the passed, failed and skipped tests in the JUnit report of one `bun test`.

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

function unescapeXml(text: string): string {
  const named: Record<string, string> = { lt: "<", gt: ">", quot: '"', apos: "'", amp: "&" };
  return text.replaceAll(
    /&(?:#(\d+)|(\w+));/g,
    (entity, code: string | undefined, name: string | undefined) =>
      code === undefined ? (named[name!] ?? entity) : String.fromCodePoint(Number(code)),
  );
}
