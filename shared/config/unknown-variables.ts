// Warns about environment variables that look like a misspelled setting of this program.
import type { Environment } from "./environment.ts";

/** Prefixes that only variables of this program have. */
const OWN_PREFIXES = ["PRODUCER_", "CONSUMER_", "AGGREGATOR_", "FLUSH_", "SAVE_", "METRICS_PORT_", "ALERT_"];
/** Prefixes that other programs use too (KAFKA_HEAP_OPTS, DB_SERVICE_HOST of Kubernetes). */
const SHARED_PREFIXES = ["KAFKA_", "DB_", "LOG_", "HTTP_", "MAX_FUTURE_", "PROMETHEUS_"];

/**
 * One sentence for each variable that is probably meant for this program and is not one of `known`. KAFKA_CONFIG_* is
 * skipped, because librdkafka refuses properties that it does not know.
 */
export function unknownVariables(environment: Environment, known: readonly string[]): string[] {
  const warnings: string[] = [];
  for (const name of Object.keys(environment).toSorted()) {
    if (known.includes(name) || name.startsWith("KAFKA_CONFIG_")) continue;
    const close = closest(name.toUpperCase(), known);
    const own = OWN_PREFIXES.some((prefix) => name.startsWith(prefix));
    const shared = SHARED_PREFIXES.some((prefix) => name.toUpperCase().startsWith(prefix));
    const near = close.distance <= (shared || own ? 4 : 2) && close.distance < name.length / 3;
    if (near)
      warnings.push(`${name} is not a variable of this program and is ignored; did you mean ${close.name}?`);
    else if (own) warnings.push(`${name} is not a variable of this program and is ignored`);
  }
  return warnings;
}

function closest(name: string, known: readonly string[]): { name: string; distance: number } {
  let best = { name: "", distance: Number.POSITIVE_INFINITY };
  for (const candidate of known) {
    // A name cut short (MAX_FUTURE_SKEW) counts as one slip, however much is missing.
    if (name.length >= 8 && candidate.startsWith(`${name}_`)) return { name: candidate, distance: 1 };
    const distance = editDistance(name, candidate);
    if (distance < best.distance) best = { name: candidate, distance };
  }
  return best;
}

/** The Levenshtein distance: insertions, deletions and replacements. */
function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = previous[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      row.push(Math.min(previous[j]! + 1, row[j - 1]! + 1, replaced));
    }
    previous = row;
  }
  return previous[b.length]!;
}
