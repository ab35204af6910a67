// Follows the consumers while they read rewound partitions again.

import type { Session } from "../../shared/store/session.ts";
import type { Rewound } from "../../shared/store/readings.ts";

const POLL_MS = 250;

/** What became of the records of the new readings so far. */
export interface ReadAgain {
  /** Up to where the partitions were stored before. */
  readonly offsets: number;
  readonly stored: number;
  readonly duplicates: number;
  readonly dead_lettered: number;
  /** False where a partition was rewound once more, or its log was cut: nothing more comes of its reading. */
  readonly is_whole: boolean;
}

interface ReadingRow {
  topic: string;
  partition: number;
  reading: number;
  first_offset: number;
  next_offset: number;
  stored: number;
  duplicates: number;
  dead_lettered: number;
  is_closed: boolean;
}

/** Waits until all rewound partitions are read again. @param onProgress gets the figures meanwhile */
export async function followReadings(
  session: Session,
  rewound: readonly Rewound[],
  onProgress: (now: ReadAgain) => void,
): Promise<ReadAgain> {
  for (;;) {
    const rows = await session.run(
      (sql) => sql<ReadingRow[]>`
        select topic, partition, reading, first_offset, next_offset, stored, duplicates, dead_lettered,
          closed_at is not null as is_closed
        from pipeline_offsets where topic = ${rewound[0]!.topic} and topic_id = ${rewound[0]!.topicId}`,
    );
    const each = rewound.map((reading) => ({
      until: reading.until,
      row: rows.find((row) => row.partition === reading.partition && row.reading === reading.reading)!,
    }));
    const sum = (figure: (reading: (typeof each)[number]) => number): number =>
      each.reduce((total, reading) => total + figure(reading), 0);
    const now: ReadAgain = {
      offsets: sum(({ row, until }) => Math.min(row.next_offset, until) - row.first_offset),
      stored: sum(({ row }) => row.stored),
      duplicates: sum(({ row }) => row.duplicates),
      dead_lettered: sum(({ row }) => row.dead_lettered),
      is_whole: each.every(({ row, until }) => row.next_offset >= until),
    };
    if (each.every(({ row, until }) => row.is_closed || row.next_offset >= until)) return now;
    onProgress(now);
    await Bun.sleep(POLL_MS);
  }
}
