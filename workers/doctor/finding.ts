// The result of one probe of the doctor, and how it is printed.
import { ConfigurationError, errorMessage, FatalError } from "../../shared/runtime/errors.ts";
import { printable } from "../../shared/text/format.ts";

export interface Finding {
  /** Such as `kafka_topic`. */
  readonly name: string;
  /** `warning`: it works, and may not be what was meant. `skipped`: not tried, because another probe failed. */
  readonly result: "ok" | "warning" | "failed" | "skipped";
  /** What was found, or what is wrong and what to do. */
  readonly detail: string;
}

export const ok = (name: string, detail: string): Finding => ({ name, result: "ok", detail });
export const warning = (name: string, detail: string): Finding => ({ name, result: "warning", detail });
export const failed = (name: string, detail: string): Finding => ({ name, result: "failed", detail });

/** The findings for probes that cannot be tried. @param reason the probe that failed before */
export function skipped(names: readonly string[], reason: string): Finding[] {
  return names.map((name) => ({ name, result: "skipped", detail: `not tried: ${reason} failed` }));
}

/** Runs a probe; what it throws is its finding. */
export async function probe(name: string, run: () => Promise<Finding>): Promise<Finding> {
  try {
    return await run();
  } catch (error) {
    return failed(name, sentenceOf(error));
  }
}

function sentenceOf(error: unknown): string {
  if (error instanceof ConfigurationError) return error.problems.join("; ");
  if (error instanceof FatalError || !(error instanceof Error)) return errorMessage(error);
  return error.message === "" ? error.name : error.message;
}

const LABELS: Readonly<Record<Finding["result"], string>> = {
  ok: "ok",
  warning: "note",
  failed: "FAILED",
  skipped: "-",
};

/** One line for each finding, and the verdict. */
export function formatFindings(findings: readonly Finding[]): string {
  const width = Math.max(...findings.map(({ name }) => name.length));
  const lines = findings.map(
    ({ name, result, detail }) => `  ${LABELS[result].padEnd(6)} ${name.padEnd(width)}  ${printable(detail)}`,
  );
  const wrong = findings.filter(({ result }) => result === "failed").map(({ name }) => name);
  const verdict =
    wrong.length === 0 ? "ok: the pipeline can run" : `FAILED: ${wrong.join(", ")}; what to do is said above`;
  return [...lines, "", verdict, ""].join("\n");
}
