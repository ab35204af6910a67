// Tests where a partition is fetched, and when it counts as unreadable.
import { describe, expect, test } from "bun:test";
import { Assignment } from "../../workers/consumer/assignment.ts";
import { batchOf } from "../pipeline/record.ts";

const PLACE = { topic: "t", partition: 0 };
const BATCH = { offset: 10, reason: "no codec" };

/** One partition that is fetched from offset 5. */
function assigned() {
  const assignment = new Assignment();
  assignment.assign(1, PLACE);
  const owned = assignment.get(1)!;
  const start = { topicId: "id", reading: 0, stored: 5, leaderEpoch: undefined };
  const fetch = () => assignment.startFetchingAt(owned, start);
  fetch();
  return { assignment, owned, fetch };
}

describe("a partition that is fetched", () => {
  test("is read up to the end of the last batch, with the leader epoch of its last record", () => {
    const { assignment, owned } = assigned();
    const batch = batchOf([{ offset: 5, value: "{" }], [{ ...PLACE, topicId: "id", reading: 0, from: 5 }]);
    const span = { ...batch.spans.get(0)!, leaderEpoch: 4 };
    assignment.markInFlight(1, span);
    expect(owned.state).toMatchObject({ next: 6, leaderEpoch: 4 });
  });
});

describe("a partition with a batch that cannot be read", () => {
  test("is reported once for each batch", () => {
    const { assignment, owned } = assigned();
    expect(assignment.markUnreadable(owned, BATCH)).toBe(true);
    expect(assignment.markUnreadable(owned, BATCH)).toBe(false);
    expect(assignment.unreadable()).toEqual([owned]);
    expect(assignment.markUnreadable(owned, { offset: 20, reason: "damaged" })).toBe(true);
  });

  test("stays unreadable until a record of the batch is read", () => {
    const { assignment, owned } = assigned();
    assignment.markUnreadable(owned, BATCH);
    assignment.markRead(1, 9);
    expect(assignment.unreadable()).toEqual([owned]);
    assignment.markRead(1, 10);
    expect(assignment.unreadable()).toEqual([]);
  });

  test.each<[string, (trial: ReturnType<typeof assigned>) => void]>([
    ["is revoked", ({ assignment }) => assignment.revoke(1)],
    ["is read again from its stored offset", ({ assignment }) => assignment.resync()],
    ["has left the log", ({ assignment, owned }) => assignment.markOutOfRange(owned, undefined)],
    ["is fetched from another offset", ({ fetch }) => fetch()],
  ])("stops being unreadable when it %s", (_, change) => {
    const trial = assigned();
    trial.assignment.markUnreadable(trial.owned, BATCH);
    change(trial);
    expect(trial.assignment.unreadable()).toEqual([]);
  });

  test("is not marked as unreadable before it is fetched", () => {
    const { assignment, owned } = assigned();
    assignment.resync();
    expect(assignment.markUnreadable(owned, BATCH)).toBe(false);
    expect(assignment.unreadable()).toEqual([]);
  });
});
