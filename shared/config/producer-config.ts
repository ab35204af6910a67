// Describes and reads the configuration of the producer.
import { Type } from "typebox";
import { parseDecimal } from "./environment.ts";
import { addProblem, readSection, type SectionSource, type SectionValues } from "./section.ts";
import { decimal, integer, text } from "./setting.ts";

const DAY_SECONDS = 86_400;

export const PRODUCER_SECTION = Type.Object({
  minIntervalSeconds: decimal("PRODUCER_MIN_INTERVAL", [0, DAY_SECONDS], 0.1),
  maxIntervalSeconds: decimal("PRODUCER_MAX_INTERVAL", [0.000_001, DAY_SECONDS], 5),
  userCount: integer("PRODUCER_USER_COUNT", [1, 1_000_000_000], 1000),
  rate: Type.Optional(
    text("PRODUCER_RATE", undefined, isRate, "events per second (a number above 0), or unlimited"),
  ),
  /** A file of JSON lines, or "-" for standard input; undefined = the simulator. */
  input: Type.Optional(text("PRODUCER_INPUT", undefined, /^/, "a file, or -")),
});

type ProducerValues = SectionValues<typeof PRODUCER_SECTION.properties>;

export interface ProducerConfig extends Omit<ProducerValues, "rate"> {
  /** Infinity = unlimited; undefined = exponential spacing, or as fast as possible with `input`. */
  readonly ratePerSecond: number | undefined;
}

export function readProducerConfig(source: SectionSource): ProducerConfig {
  const { rate, ...values } = readSection(PRODUCER_SECTION, source);
  const { minIntervalSeconds, maxIntervalSeconds } = values;
  if (minIntervalSeconds > maxIntervalSeconds) {
    const problem = `is above PRODUCER_MAX_INTERVAL=${maxIntervalSeconds}`;
    addProblem(source.problems, "PRODUCER_MIN_INTERVAL", minIntervalSeconds, problem);
  }
  return { ...values, ratePerSecond: rate === undefined ? undefined : perSecond(rate) };
}

function isRate(value: string): boolean {
  const rate = perSecond(value);
  return rate > 0 && (rate <= 1e9 || rate === Number.POSITIVE_INFINITY);
}

/** NaN where the text is no number. */
function perSecond(rate: string): number {
  return /^unlimited$/i.test(rate) ? Number.POSITIVE_INFINITY : (parseDecimal(rate) ?? Number.NaN);
}
