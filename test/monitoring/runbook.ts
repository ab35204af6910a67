// Reads RUNBOOK.md: its sections, the alerts that it expects for a fault, and its queries.
import { resolve } from "node:path";

const RUNBOOK = await Bun.file(resolve(import.meta.dir, "../../monitoring/RUNBOOK.md")).text();

/** The sections on alerts and on faults: title and text. */
export const RUNBOOK_SECTIONS: ReadonlyMap<string, string> = new Map(
  RUNBOOK.split(/^### /m)
    .slice(1)
    .map((section) => [section.slice(0, section.indexOf("\n")), section.split(/^## /m, 1)[0]!]),
);

/** The names of the alerts that have a section; a fault's title has several words. */
export const EXPLAINED_ALERTS: readonly string[] = [...RUNBOOK_SECTIONS.keys()].filter((title) =>
  /^\w+$/.test(title),
);

/** The anchors that the runbook's own links lead to. */
export const RUNBOOK_LINKS: readonly string[] = [...RUNBOOK.matchAll(/\]\(#([^)]+)\)/g)].map(
  ([, anchor]) => anchor!,
);

/** The alerts of the programs themselves that it explains. */
export const OWN_ALERTS: readonly string[] = [...RUNBOOK.matchAll(/^\| `(\w+)` \|/gm)].map(
  ([, alert]) => alert!,
);

/**
 * The alerts that a fault fires, according to the runbook.
 * @throws Error when the runbook has no such fault
 */
export function expectedAlerts(fault: string): string[] {
  const [, list] = /^Expected: ((?:`\w+`,?\s)+)/m.exec(RUNBOOK_SECTIONS.get(fault) ?? "") ?? [];
  if (list === undefined) throw new Error(`the runbook lists no expected alerts for "${fault}"`);
  return [...list.matchAll(/`(\w+)`/g)].map(([, alert]) => alert!);
}

/** The code blocks in a language, `promql` or `sql`. */
export function codeBlocks(language: string): string[] {
  const blocks = RUNBOOK.matchAll(new RegExp(`^\`\`\`${language}\\n([^]*?)^\`\`\``, "gm"));
  return [...blocks].map(([, code]) => code!);
}
