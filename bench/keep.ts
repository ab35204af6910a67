// Keeps a report as JSON and as a picture in bench/results.
import { join } from "node:path";
import type { Machine } from "./machine.ts";
import { pictureOf } from "./picture/picture.ts";
import type { BenchReport } from "./report.ts";

export const RESULTS = join(import.meta.dir, "results");

/**
 * Writes `<date>-<machine>.json` and the picture beside it. Scenarios that ran on the same day and machine before stay,
 * unless they have run again; after another machine or version the file begins with these.
 *
 * @returns the paths of both files
 */
export async function keepReport(report: BenchReport, atMs: number, directory = RESULTS): Promise<string[]> {
  const date = new Date(atMs).toISOString().slice(0, 10);
  const path = join(directory, `${date}-${machineName(report.machine)}`);
  const [json, svg] = [`${path}.json`, `${path}.svg`];
  const earlier = (await Bun.file(json).exists()) ? ((await Bun.file(json).json()) as BenchReport) : report;
  const whole = Bun.deepEquals(earlier.machine, report.machine) ? { ...earlier, ...report } : report;
  await Bun.write(json, `${JSON.stringify(whole, null, 1)}\n`);
  await Bun.write(svg, pictureOf(whole, date));
  return [json, svg];
}

/** "amd-epyc-2-cores": the model of the processor, and how many of its cores there are. */
export function machineName({ cpu, cores }: Pick<Machine, "cpu" | "cores">): string {
  return `${cpu} ${cores} cores`.toLowerCase().replaceAll(/[^a-z0-9]+/g, "-");
}
