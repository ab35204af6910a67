// Measures how fast a consumer drains events written in different forms of JSON.
import { type Static, Type } from "typebox";
import { count } from "../../shared/text/format.ts";
import { formatTable } from "../../shared/text/table.ts";
import type { Bench, BenchRecord } from "../bench.ts";
import { COSTS, RATES, consumerCosts, rates, roundsOf } from "../columns.ts";
import { consumerRound, type TopicContent } from "../consumer-round.ts";
import { dumps } from "../json-dumps.ts";
import { simulated } from "../records.ts";
import { interleave, medianCosts, medianOf, type RoundOptions } from "../rounds.ts";
import type { Scenario } from "../scenario.ts";
import { type ConsumerRound, ConsumerRoundShape, Count, Rate, closed, costs } from "../shapes.ts";

const FormShape = Type.Object(
  {
    form: Type.String(),
    bytesPerEvent: Rate,
    eventsPerSecond: Rate,
    ...costs,
    rounds: Type.Array(ConsumerRoundShape, { minItems: 1 }),
  },
  closed,
);

const FormsShape = Type.Object({ events: Count, forms: Type.Array(FormShape) }, closed);
type Form = Static<typeof FormShape>;
type Forms = Static<typeof FormsShape>;

export const formsScenario: Scenario<typeof FormsShape> = {
  about: "drains events as other producers write them: Python, another order of keys, UTF-8, escapes, nested",
  shape: FormsShape,
  run: (bench, { events = 500_000, ...options }) => formRounds(bench, events, options),
  lines,
};

type Event = {
  readonly event_id: string;
  readonly user_id: string;
  readonly event_type: string;
  readonly timestamp: string;
  readonly event_data: Readonly<Record<string, string | number>>;
  readonly duration_seconds?: number;
};

/** Names of cities in their own scripts. */
const CITIES = ["Zürich", "São Paulo", "Łódź", "Αθήνα", "Москва", "東京", "القاهرة", "Ho Chi Minh 🛵"];

/** The same simulated events as other producers write them. */
const FORMS = {
  /** As the producer of this repository writes it. */
  simulator: (event: Event) => JSON.stringify(event),
  /** As json.dumps of Python writes it, with spaces, and datetime.isoformat() its time. */
  python: (event: Event) => dumps(byPython(event), { ensureAscii: true }),
  /** The keys in another order, as an unordered map writes them. */
  key_order: ({ event_data, timestamp, user_id, ...rest }: Event) =>
    JSON.stringify({ timestamp, event_data, ...rest, user_id }),
  /** Text beyond ASCII as UTF-8. */
  utf8: (event: Event, index: number) => JSON.stringify(fromAbroad(event, index)),
  /** The same text as \uXXXX, the default of json.dumps. */
  escaped: (event: Event, index: number) => dumps(fromAbroad(byPython(event), index), { ensureAscii: true }),
  /** Objects and arrays in event_data. */
  nested: ({ event_data, ...rest }: Event, index: number) =>
    JSON.stringify({
      ...rest,
      event_data: {
        session: { id: event_data["session_id"], flags: [true, false, null], depth: index % 20 },
        items: [
          { sku: `sku-${index % 500}`, price: 19.95, tags: ["new", "sale"] },
          { sku: `sku-${index % 300}`, price: 5, tags: [] },
        ],
        ...event_data,
      },
    }),
} as const satisfies Record<string, (event: Event, index: number) => string>;

type FormName = keyof typeof FORMS;
export const FORM_NAMES = Object.keys(FORMS) as FormName[];

/** Simulated events in a form. */
export function* eventsOf(form: FormName, events: number): Generator<BenchRecord> {
  const write: (event: Event, index: number) => string = FORMS[form];
  let index = 0;
  for (const { key, value } of simulated(events)) {
    yield { key, value: write(JSON.parse(value) as Event, index++) };
  }
}

/** Fills one topic for each form; the rounds drain the topics in turn. */
async function formRounds(bench: Bench, events: number, options: RoundOptions): Promise<Forms> {
  const contents = new Map<FormName, TopicContent & { bytes: number }>();
  for (const form of FORM_NAMES) {
    const topic = await bench.topic();
    const counter = { bytes: 0 };
    await bench.fill(topic, counted(eventsOf(form, events), counter));
    contents.set(form, { topic, records: events, duplicates: 0, bytes: counter.bytes });
  }
  const variants = Object.fromEntries(
    FORM_NAMES.map((form) => [form, () => consumerRound(bench, contents.get(form)!)]),
  ) as Record<FormName, () => Promise<ConsumerRound>>;
  const rounds = await interleave<Record<FormName, ConsumerRound>>("forms", variants, options);
  for (const { topic } of contents.values()) await bench.kafka.deleteTopic(topic);
  return {
    events,
    forms: FORM_NAMES.map((form): Form => {
      const ofForm = rounds.map((round) => round[form]);
      return {
        form,
        bytesPerEvent: contents.get(form)!.bytes / events,
        eventsPerSecond: medianOf(ofForm, "eventsPerSecond"),
        ...medianCosts(ofForm),
        rounds: ofForm,
      };
    }),
  };
}

function* counted(records: Iterable<BenchRecord>, counter: { bytes: number }): Generator<BenchRecord> {
  for (const record of records) {
    counter.bytes += Buffer.byteLength(record.value);
    yield record;
  }
}

/** `2026-01-31T12:34:56.789000+00:00`, as datetime.isoformat() writes it. */
function byPython(event: Event): Event {
  return { ...event, timestamp: event.timestamp.replace("Z", "000+00:00") };
}

function fromAbroad(event: Event, index: number): Event {
  const city = CITIES[index % CITIES.length]!;
  return { ...event, event_data: { ...event.event_data, city, note: `${city}, ${index}` } };
}

function lines({ events, forms }: Forms): string[] {
  return [
    "",
    `forms: ${count(events)} events of each; ${roundsOf(forms[0]?.rounds ?? [])}; check holds after each`,
    ...formatTable(
      ["", "bytes/event", ...RATES, ...COSTS],
      forms.map(({ form, bytesPerEvent, rounds }) => [
        form,
        Math.round(bytesPerEvent),
        ...rates(rounds),
        ...consumerCosts(rounds),
      ]),
    ),
  ];
}
