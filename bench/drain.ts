// A full topic in; how fast it is drained into PostgreSQL, and what an event costs each of the three, out.
import { type Bench, median } from "./pipeline.ts";
import { cpuMicros, residentMiB, treeCpuMicros } from "./processes.ts";

export interface DrainRound {
  readonly eventsPerSecond: number;
  readonly clientCpuMicrosPerEvent: number;
  readonly postgresCpuMicrosPerEvent: number;
  readonly brokerCpuMicrosPerEvent: number;
  readonly rssMiB: number;
}

export interface DrainResult extends DrainRound {
  readonly events: number;
  readonly rounds: readonly DrainRound[];
}

const ROUNDS = 3;

/** Medians of several rounds, each on a topic and a database of its own. */
export async function drain(bench: Bench, events: number, say: (line: string) => void): Promise<DrainResult> {
  const rounds: DrainRound[] = [];
  for (let round = 1; round <= ROUNDS; round++) {
    rounds.push(await drainOnce(bench, events));
    say(`drain, round ${round} of ${ROUNDS}: ${Math.round(rounds.at(-1)!.eventsPerSecond)} events/s`);
  }
  const middle = (figure: keyof DrainRound) => median(rounds.map((round) => round[figure]));
  return {
    events,
    eventsPerSecond: middle("eventsPerSecond"),
    clientCpuMicrosPerEvent: middle("clientCpuMicrosPerEvent"),
    postgresCpuMicrosPerEvent: middle("postgresCpuMicrosPerEvent"),
    brokerCpuMicrosPerEvent: middle("brokerCpuMicrosPerEvent"),
    rssMiB: middle("rssMiB"),
    rounds,
  };
}

async function drainOnce(bench: Bench, events: number): Promise<DrainRound> {
  await using pipeline = await bench.pipeline();
  const consumer = pipeline.consumer();
  // Timed with the assignment settled: a worker that joins late would leave another one most of the events.
  await pipeline.settled();
  const { pid } = consumer.program;
  // Frozen while the topic is filled, for less than the session timeout.
  consumer.program.signal("SIGSTOP");
  await bench.fill(pipeline.topic, events);
  const cpu = async () =>
    Promise.all([cpuMicros(pid), treeCpuMicros(bench.postgres.pid!), cpuMicros(bench.kafka.pids[0]!)]);
  const before = await cpu();
  const startedAt = performance.now();
  consumer.program.signal("SIGCONT");
  await pipeline.until("all is stored", async () => (await pipeline.consumed()) >= events, 300_000);
  const seconds = (performance.now() - startedAt) / 1000;
  const after = await cpu();
  const rssMiB = await residentMiB(pid);
  await consumer.drain();
  const { exitCode, violated } = await pipeline.ledger();
  if (exitCode !== 0) throw new Error(`check fails after the drain: ${violated.join("; ")}`);
  const [client = 0, postgres = 0, broker = 0] = after.map(
    (micros, index) => (micros - before[index]!) / events,
  );
  return {
    eventsPerSecond: events / seconds,
    clientCpuMicrosPerEvent: client,
    postgresCpuMicrosPerEvent: postgres,
    brokerCpuMicrosPerEvent: broker,
    rssMiB,
  };
}
