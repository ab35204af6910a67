// Formats a report as text.
import { count } from "../shared/text/format.ts";
import { formatTable } from "../shared/text/table.ts";
import { LARGE_RECORD_BYTES } from "../test/support/hostile/hostile-records.ts";
import type {
  BenchReport,
  ConsumerRound,
  Drain,
  Duplicates,
  Forms,
  Hostile,
  Idle,
  Latency,
  Letters,
  Producer,
  Rebuild,
  Retention,
  Rewind,
} from "./report.ts";
import { medianCosts, medianOf } from "./rounds.ts";

/** @returns the machine in one line, then a table for each scenario that ran */
export function formatReport({
  machine,
  drain,
  producer,
  forms,
  duplicates,
  hostile,
  latency,
  idle,
  rebuild,
  rewind,
  letters,
  retention,
}: BenchReport): string[] {
  return [
    `${machine.cpu}, ${machine.cores} cores, ${machine.memoryGiB} GiB; Bun ${machine.bun}, librdkafka ${machine.librdkafka}, ` +
      `PostgreSQL ${machine.postgres}, Kafka ${machine.kafka}, all on this machine`,
    ...(drain ? drainLines(drain) : []),
    ...(producer ? producerLines(producer) : []),
    ...(forms ? formLines(forms) : []),
    ...(duplicates ? duplicateLines(duplicates) : []),
    ...(hostile ? hostileLines(hostile) : []),
    ...(latency ? [latencyLine(latency)] : []),
    ...(idle ? [idleLine(idle)] : []),
    ...(rebuild ? [rebuildLine(rebuild)] : []),
    ...(rewind ? [rewindLine(rewind)] : []),
    ...(letters ? [lettersLine(letters)] : []),
    ...(retention ? retentionLines(retention) : []),
  ];
}

function drainLines({ events, workers, eventsPerSecond, rounds }: Drain): string[] {
  const consumers = (["consumer", "unnest"] as const).map((variant) => {
    const ofVariant = rounds.map((round) => round[variant]);
    const share = eventsPerSecond[variant] / eventsPerSecond.copy;
    return [
      variant === "consumer" ? "consumer" : "consumer, INSERT only",
      ...rates(ofVariant),
      toDigits(share, 2),
      ...consumerCosts(ofVariant),
    ];
  });
  const copies = rounds.map(({ copy }) => copy);
  return [
    "",
    `drain: ${count(events)} events, a full topic to empty, ${workers} workers; ${roundsOf(rounds)}; check holds after each`,
    ...formatTable(
      ["", ...RATES, "of COPY", ...COSTS],
      [
        ...consumers,
        [
          "bare COPY",
          ...rates(copies),
          1,
          toDigits(medianOf(copies, "clientCpuMicrosPerEvent"), 2),
          toDigits(medianOf(copies, "postgresCpuMicrosPerEvent"), 2),
          "",
          "",
        ],
      ],
    ),
  ];
}

function producerLines({ events, errors, rounds }: Producer): string[] {
  const ours = rounds.map(({ producer }) => producer);
  const java = rounds.map((round) => round.java);
  return [
    "",
    `producer: ${count(events)} events acknowledged (acks=all, idempotent, lz4); ${roundsOf(rounds)}; ${count(errors)} errors`,
    ...formatTable(
      ["", ...RATES, "MB/s", "µs CPU/event", "broker"],
      [
        [
          "producer",
          ...rates(ours),
          toDigits(medianOf(ours, "megabytesPerSecond"), 1),
          toDigits(medianOf(ours, "cpuMicrosPerEvent"), 2),
          toDigits(medianOf(ours, "brokerCpuMicrosPerEvent"), 2),
        ],
        [
          "kafka-producer-perf-test",
          ...rates(java),
          toDigits(medianOf(java, "megabytesPerSecond"), 1),
          "",
          "",
        ],
      ],
    ),
  ];
}

function formLines({ events, forms }: Forms): string[] {
  return [
    "",
    `forms: ${count(events)} events of each; ${roundsOf(forms[0]?.rounds ?? [])}; check holds after each`,
    ...formatTable(
      ["", "bytes/event", ...RATES, ...COSTS],
      forms.map(({ form, bytesPerEvent, rounds }) => [
        form,
        Math.round(bytesPerEvent),
        ...rates(rounds),
        ...consumerCosts(rounds),
      ]),
    ),
  ];
}

function duplicateLines({ events, shares }: Duplicates): string[] {
  const rows = shares.flatMap(({ share, duplicates, rounds }) =>
    (["consumer", "unnest"] as const).map((variant) => {
      const ofVariant = rounds.map((round) => round[variant]);
      const name = `${share * 100} %, ${variant === "consumer" ? "consumer" : "INSERT only"}`;
      return [name, duplicates, ...rates(ofVariant), ...consumerCosts(ofVariant)];
    }),
  );
  return [
    "",
    `duplicates: ${count(events)} records; ${roundsOf(shares[0]?.rounds ?? [])}; check holds after each, duplicates as published`,
    ...formatTable(["", "duplicates", ...RATES, ...COSTS], rows),
  ];
}

function hostileLines({ records, kinds, largeOfEach, shares }: Hostile): string[] {
  return [
    "",
    `hostile: ${count(records)} records, ${kinds} kinds in turn, at most ${largeOfEach} of a kind above ${count(LARGE_RECORD_BYTES)} bytes; ` +
      `${roundsOf(shares[0]?.rounds ?? [])}; check holds after each, every record in its place`,
    ...formatTable(
      ["", "stored", "duplicates", "dead letters", "bytes/record", ...RATES, "of clean", ...COSTS],
      shares.map(({ share, stored, duplicates, deadLetters, bytesPerRecord, ratioToClean, rounds }) => [
        share === 0 ? "clean" : `${share * 100} %`,
        stored,
        duplicates,
        deadLetters,
        Math.round(bytesPerRecord),
        ...rates(rounds),
        toDigits(ratioToClean, 2),
        ...consumerCosts(rounds),
      ]),
    ),
  ];
}

function latencyLine({ ratePerSecond, samples, p50Ms, p90Ms, p99Ms }: Latency): string {
  const [p50, p90, p99] = [p50Ms, p90Ms, p99Ms].map((ms) => toDigits(ms, 1));
  return `\nlatency: ${p50} ms p50, ${p90} ms p90, ${p99} ms p99, from the producer to its hour at ${count(ratePerSecond)} events/s (${samples} samples)`;
}

function idleLine({ seconds, cpuPercent, lagByPartition }: Idle): string {
  return `\nidle: ${toDigits(cpuPercent, 1)} % of one core over ${seconds} s, lag ${lagByPartition.reduce((sum, lag) => sum + lag, 0)}`;
}

function rebuildLine({ events, changed, found, slices, seconds, eventsPerSecondMeanwhile }: Rebuild): string {
  return `\nrebuild: ${changed} rows of hours changed by hand, ${found} found and mended, in ${toDigits(seconds, 1)} s: ${count(events)} events in ${slices} slices, while ${count(eventsPerSecondMeanwhile)} events/s were stored; check holds`;
}

function rewindLine({ events, stored, duplicates, eventsPerSecond }: Rewind): string {
  return `\nrewind: ${count(events)} records read again, ${count(eventsPerSecond)} records/s: ${count(stored)} stored, ${count(duplicates)} duplicates, hours unchanged; check holds`;
}

function lettersLine({ letters, lettersPerSecond, listed, listSeconds }: Letters): string {
  return `\nletters: ${count(letters)} mended by one replay at ${count(lettersPerSecond)}/s; the list of ${count(listed)} in ${toDigits(listSeconds, 2)} s; check holds`;
}

function retentionLines(report: Retention): string[] {
  const { rate, cuts, events, checkSeconds, checkLastDaySeconds, checkLastHourSeconds } = report;
  const rows = (["without", "with"] as const).map((variant) => {
    const round = report[variant];
    return [
      `${variant} retention`,
      Math.round(round.eventsPerSecond),
      toDigits(round.clientCpuMicrosPerEvent, 2),
      toDigits(round.postgresCpuMicrosPerEvent, 2),
      round.pruned,
      `${Math.min(...round.megabytes)} to ${Math.max(...round.megabytes)}`,
      round.longestStepMs,
    ];
  });
  return [
    "",
    `retention: ${count(rate)} events/s, an hour deleted ${cuts} times, vacuumed and checked after each; check holds`,
    ...formatTable(
      ["", "events/s", "µs CPU/event", "PostgreSQL", "deleted", "MiB", "longest step, ms"],
      rows,
    ),
    `check of ${count(events)} events: all in ${toDigits(checkSeconds, 1)} s, since the last day in ${toDigits(checkLastDaySeconds, 1)} s, since the last hour in ${toDigits(checkLastHourSeconds, 1)} s`,
  ];
}

const RATES = ["events/s", "min", "max"];
const COSTS = ["µs CPU/event", "PostgreSQL", "broker", "MiB"];

function rates(rounds: readonly { readonly eventsPerSecond: number }[]): number[] {
  const all = rounds.map(({ eventsPerSecond }) => eventsPerSecond);
  return [medianOf(rounds, "eventsPerSecond"), Math.min(...all), Math.max(...all)].map(Math.round);
}

function consumerCosts(rounds: readonly ConsumerRound[]): number[] {
  const costs = medianCosts(rounds);
  return [
    toDigits(costs.clientCpuMicrosPerEvent, 2),
    toDigits(costs.postgresCpuMicrosPerEvent, 2),
    toDigits(costs.brokerCpuMicrosPerEvent, 2),
    Math.round(costs.rssMiB),
  ];
}

function roundsOf(rounds: readonly unknown[]): string {
  return rounds.length === 1 ? "1 round" : `medians of ${rounds.length} rounds, in turn`;
}

function toDigits(number: number, digits: number): number {
  return Number(number.toFixed(digits));
}
