// Measures how fast a full topic is drained into PostgreSQL, compared with INSERT only and with a bare COPY.
import { INSERT_ONLY, consumerRound } from "../consumer-round.ts";
import { captureRows, copyRound } from "../copy.ts";
import { type Bench, WORKERS } from "../bench.ts";
import { simulated } from "../records.ts";
import type { Drain, DrainRound } from "../report.ts";
import { interleave, medianCosts, medianRates, type RoundOptions } from "../rounds.ts";

/** Fills one topic and drains it into a new database in each round. */
export async function drain(bench: Bench, events: number, options: RoundOptions): Promise<Drain> {
  const topic = await bench.topic();
  await bench.fill(topic, simulated(events));
  const content = { topic, records: events, duplicates: 0 };
  const sent = await captureRows(bench, content);
  const rounds = await interleave<DrainRound>(
    "drain",
    {
      consumer: () => consumerRound(bench, content),
      unnest: () => consumerRound(bench, content, INSERT_ONLY),
      copy: () => copyRound(bench, sent),
    },
    options,
  );
  await bench.kafka.deleteTopic(topic);
  const eventsPerSecond = medianRates(rounds, ["consumer", "unnest", "copy"]);
  return {
    events,
    workers: WORKERS,
    eventsPerSecond,
    ratioToCopy: eventsPerSecond.consumer / eventsPerSecond.copy,
    ...medianCosts(rounds.map(({ consumer }) => consumer)),
    rounds,
  };
}
