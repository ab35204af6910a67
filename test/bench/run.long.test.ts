import { expect, test } from "bun:test";
import { Errors } from "typebox/value";
import { type BenchReport, BenchReportShape } from "../../bench/report.ts";
import { Program } from "../support/process.ts";
import { clusterTest } from "../support/requirements.ts";

const RUN = "bench/run.ts";
const TIMEOUT_MS = 480_000;
const EVENTS = 4000;
const ROWS = 8000;
const SECONDS = 4;

clusterTest(
  "bench prints one JSON object of the documented shape, with consistent figures",
  async () => {
    await using bench = Program.start(RUN, {
      args: [
        "soak",
        "producer",
        "growth",
        "drain",
        "--json",
        "--rounds=1",
        `--events=${EVENTS}`,
        `--rows=${ROWS}`,
        `--seconds=${SECONDS}`,
      ],
    });
    const code = await bench.exit(TIMEOUT_MS);
    if (code !== 0) throw new Error(`the bench ended with ${code}:\n${bench.output}`);

    const report = JSON.parse(bench.stdout) as BenchReport;
    expect(Errors(BenchReportShape, report)).toEqual([]);
    expect(Object.keys(report)).toEqual(["machine", "drain", "producer", "growth", "soak"]);

    const { drain, producer, growth, soak } = report;
    expect(drain!.events).toBe(EVENTS);
    expect(drain!.rounds).toHaveLength(1);
    const { consumer, unnest, copy } = drain!.rounds[0]!;
    // The median of one round is that round.
    expect(drain!.eventsPerSecond).toEqual({
      consumer: consumer.eventsPerSecond,
      unnest: unnest.eventsPerSecond,
      copy: copy.eventsPerSecond,
    });
    expect(drain!.ratioToCopy).toBe(consumer.eventsPerSecond / copy.eventsPerSecond);
    for (const { clientCpuMicrosPerEvent, postgresCpuMicrosPerEvent, rssMiB } of [consumer, unnest]) {
      // 1,000 µs each would be 4 s of CPU time for 4,000 events.
      expect(clientCpuMicrosPerEvent).toBeWithin(1, 1000);
      expect(postgresCpuMicrosPerEvent).toBeWithin(1, 1000);
      expect(rssMiB).toBeWithin(50, 2000);
    }

    const { eventsPerSecond, ratioToJava, megabytesPerSecond, errors } = producer!;
    expect(producer!.events).toBe(EVENTS);
    expect(ratioToJava).toBe(eventsPerSecond.producer / eventsPerSecond.java);
    expect(errors).toBe(0);
    // A simulated event has about 350 bytes.
    expect((megabytesPerSecond * 1e6) / eventsPerSecond.producer).toBeWithin(250, 450);

    const { eventsPerStep, timeLed, random, users } = growth!;
    expect(eventsPerStep).toBe(EVENTS);
    for (const steps of [timeLed, random]) {
      expect(steps.map(({ rows }) => rows)).toEqual([0, EVENTS]);
      // A row has about 300 bytes, and its parts of the indexes.
      for (const { walBytesPerEvent } of steps) expect(walBytesPerEvent).toBeWithin(300, 20_000);
    }
    expect(users.at(-1)!.users).toBe(1_000_000);

    const { seconds, ratePerSecond, events, samples } = soak!;
    expect(ratePerSecond).toBe(Math.round(drain!.eventsPerSecond.consumer / 2));
    expect(seconds).toBeGreaterThanOrEqual(SECONDS);
    expect(events).toBeGreaterThan(samples.length);
    expect(soak!.rssMiB).toBe(Math.max(...samples.map(({ rssMiB }) => rssMiB)));
  },
  TIMEOUT_MS,
);

test("bench explains a wrong command line and exits with 2", async () => {
  for (const [args, message] of [
    [["drian"], "'drian'"],
    [["--events", "0"], "--events 0: must be a whole number above 0"],
    [["--rounds", "few"], "--rounds few: must be a whole number above 0"],
    [["--event", "1"], "--event"],
  ] as const) {
    await using bench = Program.start(RUN, { args });
    expect(await bench.exit()).toBe(2);
    expect(bench.stderr).toContain(message);
    expect(bench.stdout).toBe("");
  }
});
