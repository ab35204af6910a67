// Describes and reads the configuration of the producer.
import { Type } from "typebox";
import { addProblem, readSection, type SectionSource, type SectionValues } from "./section.ts";

const DAY_SECONDS = 86_400;

export const PRODUCER_SECTION = Type.Object({
  minIntervalSeconds: Type.Number({
    variable: "PRODUCER_MIN_INTERVAL",
    default: 0.1,
    minimum: 0,
    maximum: DAY_SECONDS,
  }),
  maxIntervalSeconds: Type.Number({
    variable: "PRODUCER_MAX_INTERVAL",
    default: 5,
    minimum: 0.000_001,
    maximum: DAY_SECONDS,
  }),
  userCount: Type.Integer({
    variable: "PRODUCER_USER_COUNT",
    default: 1000,
    minimum: 1,
    maximum: 1_000_000_000,
  }),
  ratePerSecond: Type.Optional(
    Type.Union([Type.Literal("unlimited"), Type.Number({ exclusiveMinimum: 0, maximum: 1e9 })], {
      variable: "PRODUCER_RATE",
      allowed: "events per second (a number above 0), or unlimited",
    }),
  ),
  /** A file of JSON lines, or "-" for standard input; undefined = the simulator. */
  input: Type.Optional(Type.String({ variable: "PRODUCER_INPUT" })),
});

type ProducerValues = SectionValues<typeof PRODUCER_SECTION.properties>;

export interface ProducerConfig extends Omit<ProducerValues, "ratePerSecond"> {
  /** Infinity = unlimited; undefined = exponential spacing, or as fast as possible with `input`. */
  readonly ratePerSecond: number | undefined;
}

export function readProducerConfig(source: SectionSource): ProducerConfig {
  const { ratePerSecond: rate, ...values } = readSection(PRODUCER_SECTION, source);
  const { minIntervalSeconds, maxIntervalSeconds } = values;
  if (minIntervalSeconds > maxIntervalSeconds) {
    const problem = `is above PRODUCER_MAX_INTERVAL=${maxIntervalSeconds}`;
    addProblem(source.problems, "PRODUCER_MIN_INTERVAL", minIntervalSeconds, problem);
  }
  return { ...values, ratePerSecond: rate === "unlimited" ? Number.POSITIVE_INFINITY : rate };
}
