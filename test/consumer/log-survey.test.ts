// Tests which answers of Kafka count after all offsets have to be read again.
import { expect, test } from "bun:test";
import { Assignment } from "../../workers/consumer/assignment.ts";
import { LogSurveys } from "../../workers/consumer/log-survey.ts";
import type { KafkaPort } from "../../workers/consumer/ports.ts";
import { eventually } from "../support/eventually.ts";

function surveysOf(topicIds: KafkaPort["topicIds"]) {
  const kafka: Partial<KafkaPort> = { listOffsets: () => Promise.resolve([]), topicIds };
  const answers = { count: 0 };
  const surveys = new LogSurveys(kafka as KafkaPort, ["t"], new Assignment(), () => answers.count++);
  /** Asks once. */
  const ask = async () => {
    const { count } = answers;
    surveys.start();
    await eventually("it is answered", () => answers.count > count);
  };
  return { surveys, ask };
}

test("an answer to what was asked before a restart does not count, and Kafka is asked again at once", async () => {
  const { surveys, ask } = surveysOf(() => Promise.resolve(new Map([["t", "id"]])));
  const asked = ask();
  surveys.restart();
  await asked;
  expect(surveys.take(0)).toBeDefined();
  expect(surveys.isAnswered).toBe(false);
  expect(surveys.dueAtMs()).toBe(-Infinity);

  await ask();
  // Answered, but not taken yet.
  surveys.restart();
  surveys.take(0);
  expect(surveys.isAnswered).toBe(false);

  await ask();
  surveys.take(0);
  expect(surveys.isAnswered).toBe(true);
  expect(surveys.dueAtMs()).toBeGreaterThan(0);
});

test("a topic has no id where Kafka has answered without one, not where it did not answer", async () => {
  const answers = [
    () => Promise.resolve(new Map<string, string>()),
    () => Promise.reject(new Error("no broker answers")),
    () => Promise.resolve(new Map([["t", "id"]])),
  ];
  const { surveys, ask } = surveysOf(() => answers.shift()!());
  const found: boolean[] = [surveys.lacksId("t")];
  while (answers.length > 0) {
    await ask();
    surveys.take(0);
    found.push(surveys.lacksId("t"));
  }
  expect(found).toEqual([false, true, false, false]);
});

test("the fault of a survey stands until the next one is answered", async () => {
  let fault: Error | undefined = new Error("no broker answers");
  const { surveys, ask } = surveysOf(() =>
    fault === undefined ? Promise.resolve(new Map<string, string>()) : Promise.reject(fault),
  );
  await ask();
  surveys.take(0);
  expect(surveys.fault).toBe("no broker answers");
  fault = undefined;
  await ask();
  surveys.take(0);
  expect(surveys.fault).toBeUndefined();
});
