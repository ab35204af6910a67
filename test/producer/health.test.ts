import { describe, expect, test } from "bun:test";
import { DeliveryLedger } from "../../shared/producer/delivery-ledger.ts";
import { producerProbe } from "../../workers/alerting.ts";
import {
  isFirstAcknowledgementOverdue,
  ProducerHealth,
  type ProducerSnapshot,
} from "../../workers/producer/health.ts";

function healthOf(ledger: DeliveryLedger, snapshot: Partial<ProducerSnapshot> = {}): ProducerHealth {
  return new ProducerHealth(ledger, () => ({ waitingFor: undefined, isStopping: false, ...snapshot }));
}

describe("time without an acknowledgement", () => {
  test("starts with the first record that waits, and ends with the next acknowledgement", () => {
    const ledger = new DeliveryLedger();
    expect(ledger.measureUnacknowledgedMs(0)).toBe(0);
    expect(ledger.measureUnacknowledgedMs(100_000)).toBe(0);
    ledger.sent = 2;
    expect(ledger.measureUnacknowledgedMs(101_000)).toBe(0);
    expect(ledger.measureUnacknowledgedMs(103_000)).toBe(2000);
    ledger.onDelivered(ledger.opaque("click", 1));
    // One record still waits.
    expect(ledger.measureUnacknowledgedMs(104_000)).toBe(0);
    expect(ledger.measureUnacknowledgedMs(105_000)).toBe(1000);
    ledger.onDelivered(ledger.opaque("click", 1));
    expect(ledger.measureUnacknowledgedMs(106_000)).toBe(0);
    expect(ledger.measureUnacknowledgedMs(200_000)).toBe(0);
  });

  test("is not ended by a failed delivery, but by an acknowledgement after it", () => {
    const ledger = new DeliveryLedger();
    ledger.sent = 1;
    ledger.measureUnacknowledgedMs(0);
    ledger.onFailed({ code: 1, message: "timed out", count: 1 });
    expect(ledger.outstanding).toBe(0);
    expect(ledger.measureUnacknowledgedMs(10_000)).toBe(10_000);
    ledger.sent = 2;
    ledger.onDelivered(ledger.opaque("click", 1));
    expect(ledger.measureUnacknowledgedMs(11_000)).toBe(0);
    expect(ledger.measureUnacknowledgedMs(60_000)).toBe(0);
  });

  test("is the same for two callers that ask in turn", () => {
    const ledger = new DeliveryLedger();
    ledger.sent = 2;
    ledger.measureUnacknowledgedMs(0);
    ledger.onDelivered(ledger.opaque("click", 1));
    expect([10_000, 10_000, 12_000, 12_000].map((nowMs) => ledger.measureUnacknowledgedMs(nowMs))).toEqual([
      0, 0, 2000, 2000,
    ]);
  });
});

describe("the first acknowledgement", () => {
  test("is overdue 20 s after the first record, not after the start", () => {
    const ledger = new DeliveryLedger();
    expect(isFirstAcknowledgementOverdue(ledger, 0)).toBe(false);
    expect(isFirstAcknowledgementOverdue(ledger, 100_000)).toBe(false);
    ledger.sent = 1;
    expect(isFirstAcknowledgementOverdue(ledger, 100_000)).toBe(false);
    expect(isFirstAcknowledgementOverdue(ledger, 119_999)).toBe(false);
    expect(isFirstAcknowledgementOverdue(ledger, 120_000)).toBe(true);
  });

  test("is overdue also where every record has failed by then", () => {
    const ledger = new DeliveryLedger();
    ledger.sent = 1;
    isFirstAcknowledgementOverdue(ledger, 0);
    ledger.onFailed({ code: 1, message: "timed out", count: 1 });
    expect(isFirstAcknowledgementOverdue(ledger, 20_000)).toBe(true);
  });

  test("is not overdue once it has come, although later ones stay away", () => {
    const ledger = new DeliveryLedger();
    ledger.sent = 2;
    isFirstAcknowledgementOverdue(ledger, 0);
    ledger.onDelivered(ledger.opaque("click", 1));
    expect(isFirstAcknowledgementOverdue(ledger, 1e9)).toBe(false);
    expect(isFirstAcknowledgementOverdue(ledger, 2e9)).toBe(false);
  });
});

describe("the producer's health", () => {
  test("is without problems while Kafka acknowledges what is sent", () => {
    const ledger = new DeliveryLedger();
    const health = healthOf(ledger);
    for (let second = 0; second < 120; second++) {
      ledger.sent += 10;
      ledger.onDelivered(ledger.opaque("click", 1));
      expect(health.problems(second * 1000)).toEqual([]);
    }
  });

  test("reports what the producer waits for, and that it stops", () => {
    const ledger = new DeliveryLedger();
    expect(healthOf(ledger, { waitingFor: "topic t" }).problems(0)).toEqual([
      { kind: "starting", severity: "warning", message: "waiting for topic t" },
    ]);
    expect(healthOf(ledger, { waitingFor: "topic t", isStopping: true }).problems(0)).toEqual([
      { kind: "stopping", severity: "warning", message: "waiting for the last acknowledgements" },
    ]);
  });

  test("warns 5 s after the last acknowledgement while records wait, and is critical after 30 s", () => {
    const ledger = new DeliveryLedger();
    const health = healthOf(ledger);
    const severityAt = (second: number) => health.problems(second * 1000).map(({ severity }) => severity);
    ledger.sent = 10;
    expect(severityAt(0)).toEqual([]);
    expect(severityAt(4)).toEqual([]);
    expect(severityAt(5)).toEqual(["warning"]);
    expect(severityAt(29)).toEqual(["warning"]);
    expect(health.problems(30_000)).toEqual([
      { kind: "unacknowledged", severity: "critical", message: "records wait and Kafka acknowledges none" },
    ]);
    ledger.onDelivered(ledger.opaque("click", 1));
    expect(severityAt(31)).toEqual([]);
  });

  test("reports a failed delivery with its reason for 30 s", () => {
    const ledger = new DeliveryLedger();
    const health = healthOf(ledger);
    health.problems(0);
    ledger.onRefused(new Error("too large"));
    const failed = {
      kind: "not_delivered" as const,
      severity: "critical" as const,
      message: "records were not delivered: too large",
    };
    expect(health.problems(1000)).toEqual([failed]);
    expect(health.problems(30_999)).toEqual([failed]);
    expect(health.problems(31_000)).toEqual([]);
  });
});

describe("the producer's alert", () => {
  test("fires when nothing is acknowledged for 30 s while records wait, and only then", () => {
    const ledger = new DeliveryLedger();
    const health = healthOf(ledger);
    const probe = producerProbe(health.problems);
    const stateAt = (second: number) => probe(second * 1000)[0]?.state;
    expect(stateAt(0)).toBe("clear");
    expect(stateAt(100)).toBe("clear");
    const opaque = ledger.opaque("click", 100);
    ledger.sent = 10;
    expect(stateAt(101)).toBe("clear");
    expect(stateAt(130)).toBe("clear");
    expect(probe(131_000)).toEqual([
      { type: "pipeline_failure", state: "breached", summary: "records wait and Kafka acknowledges none" },
    ]);
    ledger.onDelivered(opaque);
    expect(stateAt(132)).toBe("clear");
    // Nine still wait.
    expect(stateAt(133)).toBe("clear");
    expect(stateAt(161)).toBe("clear");
    expect(stateAt(162)).toBe("breached");
    for (let n = 0; n < 9; n++) ledger.onDelivered(opaque);
    expect(stateAt(163)).toBe("clear");
    expect(stateAt(300)).toBe("clear");
  });
});
