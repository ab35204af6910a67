import { describe, expect, test } from "bun:test";
import type { Clock } from "../../shared/runtime/clock.ts";
import { StopSignal } from "../../shared/runtime/stop-signal.ts";
import { DeliveryLedger } from "../../shared/producer/delivery-ledger.ts";
import { SteadyRateLimiter, noRateLimit } from "../../shared/producer/rate-limiter.ts";
import { publishLoop, type PublishLoopOptions, type RecordSink } from "../../shared/producer/publish-loop.ts";
import { LineRecords, type RecordSource } from "../../shared/producer/record-source.ts";
import { eventually } from "../support/eventually.ts";

/** Time that passes only during `sleep`. */
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

/** A queue of `capacity`; `poll` empties it and acknowledges its records. */
class FakeSink implements RecordSink {
  readonly taken: string[] = [];
  readonly keys: (string | undefined)[] = [];
  fullAnswers = 0;
  readonly #ledger: DeliveryLedger;
  readonly #capacity: number;
  readonly #refuse: (value: string) => Error | undefined;
  #queued: number[] = [];

  constructor(
    ledger: DeliveryLedger,
    capacity = Number.POSITIVE_INFINITY,
    refuse: (value: string) => Error | undefined = () => undefined,
  ) {
    this.#ledger = ledger;
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
    for (const opaque of this.#queued) this.#ledger.onDelivered(opaque);
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

/** Input that never comes. @param onRead is called when it is read */
async function* silent(onRead: () => void): AsyncGenerator<Uint8Array> {
  onRead();
  await new Promise(() => undefined);
  yield new Uint8Array();
}

async function* broken(): AsyncGenerator<Uint8Array> {
  yield Buffer.from("a\n");
  throw new Error("disk gone");
}

/** The error of a promise that was rejected. */
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

function setUp(overrides: Partial<PublishLoopOptions> = {}) {
  const ledger = new DeliveryLedger();
  const sink = new FakeSink(ledger);
  const clock = new FakeClock();
  const stop = new StopSignal();
  const options: PublishLoopOptions = {
    source: lines(10),
    sink,
    ledger,
    limiter: noRateLimit,
    stop,
    clock,
    isRecordAtFault: () => false,
    ...overrides,
  };
  return { options, ledger, sink, clock, stop };
}

describe("the publish loop", () => {
  test("sends all records of a source in order, with their keys", async () => {
    const { options, ledger, sink } = setUp({ source: lines(3000) });
    expect(await publishLoop(options)).toBe("source_ended");
    expect(sink.taken).toEqual(Array.from({ length: 3000 }, (_, n) => line(n)));
    expect(sink.keys[17]).toBe("u17");
    expect(ledger.sent).toBe(3000);
    sink.poll();
    expect(ledger.acknowledged).toBe(3000);
  });

  test("waits for a full queue without losing or repeating a record", async () => {
    const { options, ledger } = setUp({ source: lines(1000) });
    const sink = new FakeSink(ledger, 7);
    await publishLoop({ ...options, sink });
    expect(sink.fullAnswers).toBeGreaterThan(50);
    expect(sink.taken).toHaveLength(1000);
    expect(new Set(sink.taken).size).toBe(1000);
    expect(ledger.sent).toBe(1000);
  });

  test("keeps a rate of 100,000 records a second", async () => {
    const { options, clock, stop, ledger } = setUp();
    const source = endless(() => {
      if (clock.nowMs >= 2000) stop.request("over");
    });
    expect(await publishLoop({ ...options, source, limiter: new SteadyRateLimiter(100_000) })).toBe(
      "stopped",
    );
    expect(Math.abs(ledger.sent - 200_000)).toBeLessThan(1000);
    expect(clock.slept).toBeGreaterThan(400);
  });

  test("takes a record from the source only when the record may go", async () => {
    const made: number[] = [];
    const { options, clock, stop } = setUp();
    const source = endless((n) => {
      made.push(clock.nowMs);
      if (n === 3) stop.request("over");
    });
    await publishLoop({ ...options, source, limiter: new SteadyRateLimiter(10) });
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
    await publishLoop({ ...options, gate });
    expect(clock.nowMs).toBeGreaterThan(500);
    expect(sink.taken).toHaveLength(10);
  });

  test("counts a record that is refused by itself, and continues with the next", async () => {
    const { options, ledger } = setUp();
    const refusal = Object.assign(new Error("too large"), { code: 10 });
    const sink = new FakeSink(ledger, 100, (value) => (value.includes('"n":4') ? refusal : undefined));
    await publishLoop({ ...options, sink, isRecordAtFault: (error) => error === refusal });
    expect(sink.taken).toHaveLength(9);
    expect(ledger).toMatchObject({ sent: 9, failed: 1, failedAfterSending: 0, acknowledged: 9 });
    expect(ledger.lastFailure).toEqual({ code: 10, message: "too large" });
  });

  test("ends at any other refusal, without taking the rest of the source", async () => {
    const { options, ledger } = setUp({ source: lines(100) });
    const sink = new FakeSink(ledger, 1000, (value) =>
      value.includes('"n":4') ? new Error("no such topic") : undefined,
    );
    expect(await failureOf(publishLoop({ ...options, sink }))).toContain("no such topic");
    expect(sink.taken).toHaveLength(4);
  });

  test("ends at a stop while it waits for input", async () => {
    let isWaiting = false;
    const { options, stop } = setUp({ source: new LineRecords(silent(() => (isWaiting = true))) });
    const ended = publishLoop(options);
    await eventually("the loop waits for input", () => isWaiting);
    stop.request("SIGINT");
    expect(await ended).toBe("stopped");
  });

  test("ends with the error of an input that cannot be read any further", async () => {
    const { options, sink } = setUp({ source: new LineRecords(broken()) });
    expect(await failureOf(publishLoop(options))).toContain("disk gone");
    expect(sink.taken).toEqual(["a"]);
  });
});

describe("the delivery ledger", () => {
  test("recovers type and size from the opaque number, at any size", () => {
    const ledger = new DeliveryLedger();
    for (const bytes of [1, 391, 1_000_000_000]) {
      ledger.sent++;
      const opaque = ledger.opaque("click", bytes);
      expect(opaque).toBeLessThan(2 ** 47);
      ledger.onDelivered(opaque);
    }
    ledger.sent++;
    ledger.onDelivered(ledger.opaque(undefined, 5));
    const { acknowledged, sizes, failed } = ledger.take();
    expect([...acknowledged]).toEqual([
      ["click", 3],
      ["unknown", 1],
    ]);
    expect([...sizes.keys()]).toEqual([1, 391, 1_000_000_000, 5]);
    expect(failed).toBe(0);
    expect(ledger.take().acknowledged.size).toBe(0);
    expect(ledger).toMatchObject({ sent: 4, acknowledged: 4, outstanding: 0 });
  });

  test("counts types beyond its limit as unknown, without losing a record", () => {
    const ledger = new DeliveryLedger();
    for (let n = 0; n < 2000; n++) ledger.onDelivered(ledger.opaque(`type ${n}`, 10));
    const { acknowledged } = ledger.take();
    expect(acknowledged.size).toBeLessThanOrEqual(512);
    expect([...acknowledged.values()].reduce((a, b) => a + b)).toBe(2000);
  });

  test("counts failures after sending apart from refusals", () => {
    const ledger = new DeliveryLedger();
    ledger.sent = 5;
    ledger.onFailed({ code: 29, message: "denied", count: 2 });
    ledger.onRefused(new Error("odd"));
    expect(ledger).toMatchObject({ failed: 3, failedAfterSending: 2, outstanding: 3 });
    expect(ledger.take().failed).toBe(3);
    expect(ledger.lastFailure).toEqual({ code: 0, message: "odd" });
  });
});
