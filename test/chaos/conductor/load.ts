// Publishes the records of a chaos run at a steady rate, in a process that may be killed: prints what is acknowledged.
import { prepareNativeLibrary } from "../../../shared/kafka/native-library.ts";
import { producerSettings } from "../../../shared/kafka/settings.ts";
import { AcknowledgingProducer } from "./acknowledging-producer.ts";
import { isOfEdge, recordOf } from "./record.ts";

/** The load's only argument, as JSON. */
export interface LoadOptions {
  readonly bootstrapServers: string;
  /** The main topic, and the one that `isOfEdge` chooses. */
  readonly topics: readonly [string, string];
  /** Records per second. */
  readonly rate: number;
  /** The number of the first record. */
  readonly from: number;
  readonly baseHour: number;
}

/** A line of the load's output. */
export interface LoadReport {
  /** Records below this number may have been published. */
  readonly reserved: number;
  /** Four numbers each: 0 main or 1 edge, partition, offset, number of the record. */
  readonly acknowledged: readonly number[];
  /** The numbers of records that failed: they may be in the log. */
  readonly failed: readonly number[];
  readonly lastError: string;
  /** Set in the last line: how many records are neither acknowledged nor failed. */
  readonly outstanding?: number;
}

const TICK_MS = 20;
const REPORT_MS = 100;
const RESERVED_AT_ONCE = 1000;
const FLUSH_DEADLINE_MS = 30_000;

if (import.meta.main) await run(JSON.parse(process.argv[2] ?? "{}") as LoadOptions);

async function run({ bootstrapServers, topics, rate, from, baseHour }: LoadOptions): Promise<void> {
  await prepareNativeLibrary(() => {});
  let acknowledged: number[] = [];
  let failed: number[] = [];
  const settings = producerSettings({
    bootstrapServers,
    consumerGroup: "none",
    // A partition that is added is found within seconds.
    passThrough: { "topic.metadata.refresh.interval.ms": "3000" },
  });
  const producer = new AcknowledgingProducer(settings, topics, ({ number, errorCode, partition, offset }) => {
    if (errorCode === 0) acknowledged.push(isOfEdge(number) ? 1 : 0, partition, offset, number);
    else failed.push(number);
  });
  const stop = new AbortController();
  process.on("SIGTERM", () => stop.abort());
  process.on("SIGINT", () => {});
  let next = from;
  let reserved = from;
  let reportedAt = 0;
  const report = (outstanding?: number) => {
    const line: LoadReport = {
      reserved,
      acknowledged,
      failed,
      lastError: producer.lastError,
      ...(outstanding === undefined ? {} : { outstanding }),
    };
    process.stdout.write(`${JSON.stringify(line)}\n`);
    [acknowledged, failed] = [[], []];
    reportedAt = performance.now();
  };
  const startedAt = performance.now();
  while (!stop.signal.aborted) {
    const due = from + Math.floor(((performance.now() - startedAt) / 1000) * rate);
    while (next < due) {
      if (next >= reserved) {
        reserved = next + RESERVED_AT_ONCE;
        report();
      }
      const { key, value } = recordOf(next, baseHour);
      if (!producer.send(isOfEdge(next) ? 1 : 0, key, value, next)) break;
      next++;
    }
    producer.poll();
    if (performance.now() - reportedAt > REPORT_MS) report();
    await Bun.sleep(TICK_MS);
  }
  const deadline = performance.now() + FLUSH_DEADLINE_MS;
  while (producer.outstanding() > 0 && performance.now() < deadline) await Bun.sleep(TICK_MS);
  report(producer.outstanding());
  // Written before the process ends.
  await new Promise<void>((resolve) => process.stdout.write("", () => resolve()));
  process.exit(0);
}
