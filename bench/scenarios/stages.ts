// Measures what each stage of the hot path costs for itself: one thread, records in memory, no Kafka, no PostgreSQL.
import { type Static, Type } from "typebox";
import { aggregate } from "../../shared/pipeline/aggregate.ts";
import { Batch } from "../../shared/pipeline/batch.ts";
import { EventReader } from "../../shared/pipeline/event-reader.ts";
import { EventRows } from "../../shared/pipeline/event-rows.ts";
import { IdSet } from "../../shared/pipeline/id-set.ts";
import { KnownUsers } from "../../shared/pipeline/known-users.ts";
import type { RecordBlock } from "../../shared/pipeline/record-block.ts";
import { RecordScanner } from "../../shared/pipeline/record-scanner.ts";
import { count } from "../../shared/text/format.ts";
import { formatTable } from "../../shared/text/table.ts";
import { simulated } from "../records.ts";
import type { Scenario } from "../scenario.ts";
import { Cost, Count, closed } from "../shapes.ts";
import { median } from "../statistics.ts";

/** Wall time on one thread that is not disturbed, nanoseconds per event. */
const StagesShape = Type.Object(
  {
    records: Count,
    rounds: Type.Integer({ minimum: 1 }),
    stages: Type.Array(Type.Object({ stage: Type.String(), nanosPerEvent: Cost }, closed)),
  },
  closed,
);
type Stages = Static<typeof StagesShape>;

export const stagesScenario: Scenario<typeof StagesShape> = {
  about: "what each stage of the hot path costs for itself, in memory",
  shape: StagesShape,
  run: async () => measureStages(STAGE_ROUNDS),
  lines,
};

const RECORDS = 10_000;
/** Each takes milliseconds, and its median has to be free of other load. */
const STAGE_ROUNDS = 300;
/** Until the compilers of the engine are done. */
const WARM_UP_ROUNDS = 60;
/** Where the id begins in a record of the simulator. */
const ID_OFFSET = '{"event_id":"'.length;
const AGGREGATION = { processedAtMs: Date.now(), hourGraceMs: 300_000, unsaved: false };
const MAX_FUTURE_SKEW_MS = 86_400_000;

/** The stages of one batch, each given what the ones before it have made. */
function measureStages(rounds: number): Stages {
  const batch = new Batch(RECORDS);
  const rows = new EventRows(RECORDS);
  const scanner = new RecordScanner();
  const reader = new EventReader();
  const ids = new IdSet(RECORDS);
  const users = new KnownUsers();
  const span = { topic: "t", topicId: "t", partition: 0, reading: 0, from: 0 };
  const now = Date.now();
  const values = [...simulated(RECORDS)].map(({ value }) => Buffer.from(value));
  fill(batch.block, values);
  const { bytes, valueStart, valueEnd } = batch.block;
  const eachRecord = (act: (start: number, end: number, record: number) => void) => {
    for (let record = 0; record < RECORDS; record++) act(valueStart[record]!, valueEnd[record]!, record);
  };

  const idEnds = values.map((value, record) => valueStart[record]! + value.indexOf('"', ID_OFFSET));

  const costs: Record<string, () => void> = {
    "scan JSON": () => eachRecord((start, end) => scanner.scan(bytes, start, end)),
    "scan and validate": () =>
      eachRecord((start, end) => reader.scan(bytes, start, end, now, MAX_FUTURE_SKEW_MS)),
    "and write rows": () => {
      rows.clear();
      eachRecord((start, end, record) => {
        reader.scan(bytes, start, end, now, MAX_FUTURE_SKEW_MS);
        rows.add(reader, record, now);
      });
    },
    "find repeated ids": () => {
      ids.clear();
      eachRecord((start, _end, record) => ids.add(bytes, start + ID_OFFSET, idEnds[record]!));
    },
    "read a batch": () => {
      batch.clear();
      fill(batch.block, values);
      batch.open({ processedAtMs: now, maxFutureSkewMs: MAX_FUTURE_SKEW_MS }, 0);
      batch.read(() => span);
    },
    "sum hours": () => users.committed(aggregate(batch.rows, batch.distinct(), users, AGGREGATION)),
    "count by partition": () => batch.countStored(batch.distinct()),
  };
  const nanos = Object.entries(costs).map(([stage, act]) => {
    for (let round = 0; round < WARM_UP_ROUNDS; round++) act();
    const measured = Array.from({ length: rounds }, () => {
      const startedAt = Bun.nanoseconds();
      act();
      return (Bun.nanoseconds() - startedAt) / RECORDS;
    });
    return { stage, nanosPerEvent: median(measured) };
  });
  return { records: RECORDS, rounds, stages: nanos };
}

function fill(block: RecordBlock, values: readonly Buffer[]): void {
  for (const [record, value] of values.entries()) {
    const start = block.reserve(value.length);
    block.bytes.set(value, start);
    block.offset[record] = record;
    block.leaderEpoch[record] = -1;
    block.keyStart[record] = -1;
    block.valueStart[record] = start;
    block.valueEnd[record] = start + value.length;
    block.count++;
  }
}

function lines({ records, rounds, stages }: Stages): string[] {
  return [
    "",
    `stages: one thread, ${count(records)} simulated records in memory; median of ${count(rounds)} rounds`,
    ...formatTable(
      ["", "ns/event"],
      stages.map(({ stage, nanosPerEvent }) => [stage, Math.round(nanosPerEvent)]),
    ),
  ];
}
