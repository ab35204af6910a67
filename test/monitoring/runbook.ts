// RUNBOOK.md in; its sections, the alerts that it expects for a fault, and its queries out.
import { resolve } from "node:path";

const RUNBOOK = resolve(import.meta.dir, "../../monitoring/RUNBOOK.md");

/** The text below each heading of a level, up to the next heading of this level or above. */
export async function sections(level: 1 | 2 | 3): Promise<Map<string, string>> {
  const text = await Bun.file(RUNBOOK).text();
  const found = new Map<string, string>();
  let title: string | undefined;
  for (const line of withoutCode(text).split("\n")) {
    const heading = /^(#{1,3}) (.+)$/.exec(line);
    if (heading !== null && heading[1]!.length <= level) {
      title = heading[1]!.length === level ? heading[2]! : undefined;
      if (title !== undefined) found.set(title, "");
    } else if (title !== undefined) found.set(title, `${found.get(title)}${line}\n`);
  }
  return found;
}

/**
 * The alerts that a fault is said to fire.
 * @throws Error where the runbook has no such fault
 */
export async function expectedAlerts(fault: string): Promise<string[]> {
  const [, list] = /^Expected: ((?:`\w+`,?\s)+)/m.exec((await sections(3)).get(fault) ?? "") ?? [];
  if (list === undefined) throw new Error(`the runbook says nothing of alerts to expect for "${fault}"`);
  return [...list.matchAll(/`(\w+)`/g)].map(([, alert]) => alert!);
}

/** The code blocks of a language: `promql`, `sql`, `sh`. */
export async function codeBlocks(language: string): Promise<string[]> {
  const text = await Bun.file(RUNBOOK).text();
  return [...text.matchAll(new RegExp(`^\`\`\`${language}\\n([^]*?)^\`\`\``, "gm"))].map(([, code]) => code!);
}

/** Comments in shell code look like headings. */
function withoutCode(text: string): string {
  return text.replaceAll(/^```[^]*?^```$/gm, "");
}
