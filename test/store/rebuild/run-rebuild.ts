// Runs a rebuild with the sessions of the command.
import type { DifferingHour } from "../../../shared/store/rebuild/compare.ts";
import { type RebuildOptions, rebuild, type RebuildResult } from "../../../shared/store/rebuild/rebuild.ts";
import { ALL_HOURS } from "../../../shared/store/rebuild/slices.ts";
import type { TestDatabase } from "../../support/postgres.ts";
import { openSession } from "../pipeline-database.ts";

interface TestRebuild extends RebuildResult {
  readonly differing: readonly DifferingHour[];
  /** "09 click" */
  readonly names: readonly string[];
}

export async function runRebuild(
  database: TestDatabase,
  options: Partial<RebuildOptions> & { isDryRun?: boolean } = {},
): Promise<TestRebuild> {
  const differing: DifferingHour[] = [];
  const reader = await openSession(database, { role: "check" });
  const writer = options.isDryRun === true ? undefined : await openSession(database, { role: "main" });
  try {
    const result = await rebuild(reader, writer, {
      range: ALL_HOURS,
      hourGraceSeconds: 300,
      onDiffering: (hours) => differing.push(...hours),
      onProgress: () => undefined,
      ...options,
    });
    return {
      ...result,
      differing,
      names: differing.map(({ hour, event_type }) => `${hour.slice(11, 13)} ${event_type}`),
    };
  } finally {
    await reader.close();
    await writer?.close();
  }
}
