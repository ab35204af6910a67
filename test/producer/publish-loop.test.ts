import { describe, expect, test } from "bun:test";
import type { Clock } from "../../shared/runtime/clock.ts";
import { StopSignal } from "../../shared/runtime/stop-signal.ts";
import { DeliveryLedger } from "../../shared/producer/delivery-ledger.ts";
import { SteadyPace, unlimitedPace } from "../../shared/producer/rate-limiter.ts";
import { publish, type PublishOptions, type RecordSink } from "../../shared/producer/publish-loop.ts";
import { LineRecords, type RecordSource } from "../../shared/producer/record-source.ts";

/** Time that passes only while someone sleeps. */
class FakeClock implements Clock {
  nowMs = 0;
  slept = 0;
  now = () => this.nowMs;
  monotonicMs = () => this.nowMs;
  async sleep(ms: number) {
    this.slept++;
    this.nowMs += ms;
  }
}

/** A queue of `capacity` that `poll` empties; what it took is acknowledged then. */
class FakeSink implements RecordSink {
  readonly taken: string[] = [];
  readonly keys: (string | undefined)[] = [];
  fullAnswers = 0;
  readonly #deliveries: DeliveryLedger;
  readonly #capacity: number;
  readonly #refuse: (value: string) => Error | undefined;
  #queued: number[] = [];

  constructor(
    deliveries: DeliveryLedger,
    capacity = Number.POSITIVE_INFINITY,
    refuse: (value: string) => Error | undefined = () => undefined,
  ) {
    this.#deliveries = deliveries;
    this.#capacity = capacity;
    this.#refuse = refuse;
  }

  send(key: Uint8Array | undefined, value: Uint8Array, opaque: number): boolean {
    return this.#take(key && Buffer.from(key).toString(), Buffer.from(value).toString(), opaque);
  }

  sendText(key: string, value: string, opaque: number): boolean {
    return this.#take(key, value, opaque);
  }

  poll(): void {
    for (const opaque of this.#queued) this.#deliveries.onDelivered(opaque);
    this.#queued = [];
  }

  #take(key: string | undefined, value: string, opaque: number): boolean {
    const refusal = this.#refuse(value);
    if (refusal !== undefined) throw refusal;
    if (this.#queued.length >= this.#capacity) {
      this.fullAnswers++;
      return false;
    }
    this.#queued.push(opaque);
    this.keys.push(key);
    this.taken.push(value);
    return true;
  }
}

function line(n: number): string {
  return `{"user_id":"u${n}","event_type":"t","n":${n}}`;
}

function lines(count: number): RecordSource {
  async function* chunks() {
    yield Buffer.from(Array.from({ length: count }, (_, n) => line(n)).join("\n"));
  }
  return new LineRecords(chunks());
}

/** Input that never comes. */
async function* silent(): AsyncGenerator<Uint8Array> {
  await new Promise(() => undefined);
  yield new Uint8Array();
}

async function* broken(): AsyncGenerator<Uint8Array> {
  yield Buffer.from("a\n");
  throw new Error("disk gone");
}

/** What a promise was rejected with. */
async function failureOf(promise: Promise<unknown>): Promise<string> {
  return await promise.then(
    () => "no failure",
    (error: unknown) => String(error),
  );
}

/** A source without an end, whose values are its running numbers. */
function endless(onNext: (n: number) => void = () => undefined): RecordSource {
  let n = 0;
  return {
    ready: true,
    next() {
      onNext(n);
      return { key: "k", value: `${n++}`, eventType: "t" };
    },
    more: async () => true,
  };
}

function setUp(overrides: Partial<PublishOptions> = {}) {
  const deliveries = new DeliveryLedger();
  const sink = new FakeSink(deliveries);
  const clock = new FakeClock();
  const stop = new StopSignal();
  const options: PublishOptions = {
    source: lines(10),
    sink,
    deliveries,
    pace: unlimitedPace,
    stop,
    clock,
    isRecordAtFault: () => false,
    ...overrides,
  };
  return { options, deliveries, sink, clock, stop };
}

describe("publish", () => {
  test("sends a source to its end, in order, with its keys", async () => {
    const { options, deliveries, sink } = setUp({ source: lines(3000) });
    expect(await publish(options)).toBe("source_ended");
    expect(sink.taken).toEqual(Array.from({ length: 3000 }, (_, n) => line(n)));
    expect(sink.keys[17]).toBe("u17");
    expect(deliveries.sent).toBe(3000);
    sink.poll();
    expect(deliveries.acknowledged).toBe(3000);
  });

  test("a full queue slows it down, and nothing is lost or doubled", async () => {
    const { options, deliveries } = setUp({ source: lines(1000) });
    const sink = new FakeSink(deliveries, 7);
    await publish({ ...options, sink });
    expect(sink.fullAnswers).toBeGreaterThan(50);
    expect(sink.taken).toHaveLength(1000);
    expect(new Set(sink.taken).size).toBe(1000);
    expect(deliveries.sent).toBe(1000);
  });

  test("keeps a rate of 100,000 a second", async () => {
    const { options, clock, stop, deliveries } = setUp();
    const source = endless(() => {
      if (clock.nowMs >= 2000) stop.request("over");
    });
    expect(await publish({ ...options, source, pace: new SteadyPace(100_000) })).toBe("stopped");
    expect(Math.abs(deliveries.sent - 200_000)).toBeLessThan(1000);
    expect(clock.slept).toBeGreaterThan(400);
  });

  test("makes an event only when it may go, not while it waits", async () => {
    const made: number[] = [];
    const { options, clock, stop } = setUp();
    const source = endless((n) => {
      made.push(clock.nowMs);
      if (n === 3) stop.request("over");
    });
    await publish({ ...options, source, pace: new SteadyPace(10) });
    expect(made).toEqual([0, 100, 200, 300]);
  });

  test("waits while the gate is closed", async () => {
    let open = false;
    const { options, clock, sink } = setUp();
    const gate = () => {
      if (clock.nowMs > 500) open = true;
      else expect(sink.taken).toEqual([]);
      return open;
    };
    await publish({ ...options, gate });
    expect(clock.nowMs).toBeGreaterThan(500);
    expect(sink.taken).toHaveLength(10);
  });

  test("a record that is refused for itself is counted, and the next goes on", async () => {
    const { options, deliveries } = setUp();
    const refusal = Object.assign(new Error("too large"), { code: 10 });
    const sink = new FakeSink(deliveries, 100, (value) => (value.includes('"n":4') ? refusal : undefined));
    await publish({ ...options, sink, isRecordAtFault: (error) => error === refusal });
    expect(sink.taken).toHaveLength(9);
    expect(deliveries).toMatchObject({ sent: 9, failed: 1, failedAfterSending: 0, acknowledged: 9 });
    expect(deliveries.lastFailure).toEqual({ code: 10, message: "too large" });
  });

  test("any other refusal ends it at once: the rest of the source is not burnt", async () => {
    const { options, deliveries } = setUp({ source: lines(100) });
    const sink = new FakeSink(deliveries, 1000, (value) =>
      value.includes('"n":4') ? new Error("no such topic") : undefined,
    );
    expect(await failureOf(publish({ ...options, sink }))).toContain("no such topic");
    expect(sink.taken).toHaveLength(4);
  });

  test("a stop ends a wait for input that never comes", async () => {
    const { options, stop } = setUp({ source: new LineRecords(silent()) });
    const ended = publish(options);
    await Bun.sleep(5);
    stop.request("SIGINT");
    expect(await ended).toBe("stopped");
  });

  test("an input that cannot be read on ends it with that error", async () => {
    const { options, sink } = setUp({ source: new LineRecords(broken()) });
    expect(await failureOf(publish(options))).toContain("disk gone");
    expect(sink.taken).toEqual(["a"]);
  });
});

describe("the ledger", () => {
  test("brings type and size back from the opaque number, at any size", () => {
    const deliveries = new DeliveryLedger();
    for (const bytes of [1, 391, 1_000_000_000]) {
      deliveries.sent++;
      const opaque = deliveries.opaque("click", bytes);
      expect(opaque).toBeLessThan(2 ** 47);
      deliveries.onDelivered(opaque);
    }
    deliveries.sent++;
    deliveries.onDelivered(deliveries.opaque(undefined, 5));
    const { acknowledged, sizes, failed } = deliveries.take();
    expect([...acknowledged]).toEqual([
      ["click", 3],
      ["unknown", 1],
    ]);
    expect([...sizes.keys()]).toEqual([1, 391, 1_000_000_000, 5]);
    expect(failed).toBe(0);
    expect(deliveries.take().acknowledged.size).toBe(0);
    expect(deliveries).toMatchObject({ sent: 4, acknowledged: 4, outstanding: 0 });
  });

  test("counts types without bound as unknown, and none is lost", () => {
    const deliveries = new DeliveryLedger();
    for (let n = 0; n < 2000; n++) deliveries.onDelivered(deliveries.opaque(`type ${n}`, 10));
    const { acknowledged } = deliveries.take();
    expect(acknowledged.size).toBeLessThanOrEqual(512);
    expect([...acknowledged.values()].reduce((a, b) => a + b)).toBe(2000);
  });

  test("tells failures after sending from refusals", () => {
    const heard: unknown[] = [];
    const deliveries = new DeliveryLedger((failure) => heard.push(failure));
    deliveries.sent = 5;
    deliveries.onFailed({ opaque: 1, code: 29, message: "denied", count: 2 });
    deliveries.onRefused(new Error("odd"));
    expect(deliveries).toMatchObject({ failed: 3, failedAfterSending: 2, outstanding: 3 });
    expect(deliveries.take().failed).toBe(3);
    expect(heard).toEqual([
      { code: 29, message: "denied", count: 2 },
      { code: 0, message: "odd", count: 1 },
    ]);
  });
});
