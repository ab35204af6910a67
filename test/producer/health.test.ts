import { describe, expect, test } from "bun:test";
import { DeliveryLedger } from "../../shared/producer/delivery-ledger.ts";
import { producerProbe } from "../../workers/alerting.ts";
import {
  isFirstAcknowledgementOverdue,
  ProducerHealth,
  type ProducerSnapshot,
} from "../../workers/producer/health.ts";

function healthOf(deliveries: DeliveryLedger, snapshot: Partial<ProducerSnapshot> = {}): ProducerHealth {
  return new ProducerHealth(deliveries, () => ({ waitingFor: undefined, isStopping: false, ...snapshot }));
}

describe("time without an acknowledgement", () => {
  test("starts with the first record that waits, and ends with the next acknowledgement", () => {
    const deliveries = new DeliveryLedger();
    expect(deliveries.unacknowledgedForMs(0)).toBe(0);
    expect(deliveries.unacknowledgedForMs(100_000)).toBe(0);
    deliveries.sent = 2;
    expect(deliveries.unacknowledgedForMs(101_000)).toBe(0);
    expect(deliveries.unacknowledgedForMs(103_000)).toBe(2000);
    deliveries.onDelivered(deliveries.opaque("click", 1));
    // One record still waits.
    expect(deliveries.unacknowledgedForMs(104_000)).toBe(0);
    expect(deliveries.unacknowledgedForMs(105_000)).toBe(1000);
    deliveries.onDelivered(deliveries.opaque("click", 1));
    expect(deliveries.unacknowledgedForMs(106_000)).toBe(0);
    expect(deliveries.unacknowledgedForMs(200_000)).toBe(0);
  });

  test("is not ended by a failed delivery, but by an acknowledgement after it", () => {
    const deliveries = new DeliveryLedger();
    deliveries.sent = 1;
    deliveries.unacknowledgedForMs(0);
    deliveries.onFailed({ opaque: 0, code: 1, message: "timed out", count: 1 });
    expect(deliveries.outstanding).toBe(0);
    expect(deliveries.unacknowledgedForMs(10_000)).toBe(10_000);
    deliveries.sent = 2;
    deliveries.onDelivered(deliveries.opaque("click", 1));
    expect(deliveries.unacknowledgedForMs(11_000)).toBe(0);
    expect(deliveries.unacknowledgedForMs(60_000)).toBe(0);
  });

  test("is the same for two callers that ask in turn", () => {
    const deliveries = new DeliveryLedger();
    deliveries.sent = 2;
    deliveries.unacknowledgedForMs(0);
    deliveries.onDelivered(deliveries.opaque("click", 1));
    expect([10_000, 10_000, 12_000, 12_000].map((nowMs) => deliveries.unacknowledgedForMs(nowMs))).toEqual([
      0, 0, 2000, 2000,
    ]);
  });
});

describe("the first acknowledgement", () => {
  test("is overdue 20 s after the first record, not after the start", () => {
    const deliveries = new DeliveryLedger();
    expect(isFirstAcknowledgementOverdue(deliveries, 0)).toBe(false);
    expect(isFirstAcknowledgementOverdue(deliveries, 100_000)).toBe(false);
    deliveries.sent = 1;
    expect(isFirstAcknowledgementOverdue(deliveries, 100_000)).toBe(false);
    expect(isFirstAcknowledgementOverdue(deliveries, 119_999)).toBe(false);
    expect(isFirstAcknowledgementOverdue(deliveries, 120_000)).toBe(true);
  });

  test("is overdue also where every record has failed by then", () => {
    const deliveries = new DeliveryLedger();
    deliveries.sent = 1;
    isFirstAcknowledgementOverdue(deliveries, 0);
    deliveries.onFailed({ opaque: 0, code: 1, message: "timed out", count: 1 });
    expect(isFirstAcknowledgementOverdue(deliveries, 20_000)).toBe(true);
  });

  test("is not overdue once it has come, although later ones stay away", () => {
    const deliveries = new DeliveryLedger();
    deliveries.sent = 2;
    isFirstAcknowledgementOverdue(deliveries, 0);
    deliveries.onDelivered(deliveries.opaque("click", 1));
    expect(isFirstAcknowledgementOverdue(deliveries, 1e9)).toBe(false);
    expect(isFirstAcknowledgementOverdue(deliveries, 2e9)).toBe(false);
  });
});

describe("the producer's health", () => {
  test("is without problems while Kafka acknowledges what is sent", () => {
    const deliveries = new DeliveryLedger();
    const health = healthOf(deliveries);
    for (let second = 0; second < 120; second++) {
      deliveries.sent += 10;
      deliveries.onDelivered(deliveries.opaque("click", 1));
      expect(health.problems(second * 1000)).toEqual([]);
    }
  });

  test("reports what the producer waits for, and that it stops", () => {
    const deliveries = new DeliveryLedger();
    expect(healthOf(deliveries, { waitingFor: "topic t" }).problems(0)).toEqual([
      { kind: "starting", severity: "warning", message: "waiting for topic t" },
    ]);
    expect(healthOf(deliveries, { waitingFor: "topic t", isStopping: true }).problems(0)).toEqual([
      { kind: "stopping", severity: "warning", message: "waiting for the last acknowledgements" },
    ]);
  });

  test("warns 5 s after the last acknowledgement while records wait, and is critical after 30 s", () => {
    const deliveries = new DeliveryLedger();
    const health = healthOf(deliveries);
    const severityAt = (second: number) => health.problems(second * 1000).map(({ severity }) => severity);
    deliveries.sent = 10;
    expect(severityAt(0)).toEqual([]);
    expect(severityAt(4)).toEqual([]);
    expect(severityAt(5)).toEqual(["warning"]);
    expect(severityAt(29)).toEqual(["warning"]);
    expect(health.problems(30_000)).toEqual([
      { kind: "unacknowledged", severity: "critical", message: "records wait and Kafka acknowledges none" },
    ]);
    deliveries.onDelivered(deliveries.opaque("click", 1));
    expect(severityAt(31)).toEqual([]);
  });

  test("reports a failed delivery with its reason for 30 s", () => {
    const deliveries = new DeliveryLedger();
    const health = healthOf(deliveries);
    health.problems(0);
    deliveries.onRefused(new Error("too large"));
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
    const deliveries = new DeliveryLedger();
    const health = healthOf(deliveries);
    const probe = producerProbe((nowMs) => health.problems(nowMs));
    const stateAt = (second: number) => probe(second * 1000)[0]?.state;
    expect(stateAt(0)).toBe("clear");
    expect(stateAt(100)).toBe("clear");
    const opaque = deliveries.opaque("click", 100);
    deliveries.sent = 10;
    expect(stateAt(101)).toBe("clear");
    expect(stateAt(130)).toBe("clear");
    expect(probe(131_000)).toEqual([
      { type: "pipeline_failure", state: "breached", summary: "records wait and Kafka acknowledges none" },
    ]);
    deliveries.onDelivered(opaque);
    expect(stateAt(132)).toBe("clear");
    // Nine still wait.
    expect(stateAt(133)).toBe("clear");
    expect(stateAt(161)).toBe("clear");
    expect(stateAt(162)).toBe("breached");
    for (let n = 0; n < 9; n++) deliveries.onDelivered(opaque);
    expect(stateAt(163)).toBe("clear");
    expect(stateAt(300)).toBe("clear");
  });
});
