// Parses the text of a Prometheus scrape into samples that a test can look up by name and labels.

export interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

const NAME = /^[a-zA-Z_:][a-zA-Z0-9_:]*/;
const LABEL = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"/y;

/** One scrape of a `/metrics` endpoint. */
export class Scrape {
  readonly samples: readonly Sample[];
  /** `# TYPE` by metric name: counter, gauge, histogram. */
  readonly types: ReadonlyMap<string, string>;

  /** @throws Error with the line that is not in Prometheus's text format */
  constructor(text: string) {
    const samples: Sample[] = [];
    const types = new Map<string, string>();
    for (const line of text.split("\n")) {
      const type = /^# TYPE (\S+) (\S+)$/.exec(line);
      if (type) types.set(type[1]!, type[2]!);
      else if (line !== "" && !line.startsWith("#")) samples.push(readSample(line));
    }
    this.samples = samples;
    this.types = types;
  }

  /** The samples of `name` that carry all of `labels`, and maybe others. */
  find(name: string, labels: Readonly<Record<string, string>> = {}): Sample[] {
    const wanted = Object.entries(labels);
    return this.samples.filter(
      (sample) => sample.name === name && wanted.every(([label, value]) => sample.labels[label] === value),
    );
  }

  /** The sum over the samples that `find` gives; undefined where there is none. */
  value(name: string, labels: Readonly<Record<string, string>> = {}): number | undefined {
    const found = this.find(name, labels);
    return found.length === 0 ? undefined : found.reduce((sum, sample) => sum + sample.value, 0);
  }
}

/**
 * Reads a `/metrics` endpoint once.
 * @throws Error when nothing answers within 5 s, or not with 200
 */
export async function scrape(port: number, host = "127.0.0.1"): Promise<Scrape> {
  const answer = await fetch(`http://${host}:${port}/metrics`, { signal: AbortSignal.timeout(5_000) });
  if (!answer.ok) throw new Error(`/metrics answered ${answer.status}`);
  return new Scrape(await answer.text());
}

/** `name{label="value",…} value` */
function readSample(line: string): Sample {
  const name = NAME.exec(line)?.[0];
  if (name === undefined) throw malformed(line);
  const labels: Record<string, string> = {};
  let at = name.length;
  if (line[at] === "{") {
    at++;
    while (line[at] !== "}") {
      LABEL.lastIndex = at;
      const label = LABEL.exec(line);
      if (label === null) throw malformed(line);
      labels[label[1]!] = unescape(label[2]!);
      at = LABEL.lastIndex;
      if (line[at] === ",") at++;
    }
    at++;
  }
  const [value, ...rest] = line.slice(at).trim().split(/\s+/);
  // A time stamp may follow; our endpoints give none.
  if (!value || rest.length > 0 || line[at] !== " ") throw malformed(line);
  return { name, labels, value: readNumber(value, line) };
}

function readNumber(text: string, line: string): number {
  if (text === "+Inf") return Infinity;
  if (text === "-Inf") return -Infinity;
  const value = Number(text);
  if (Number.isNaN(value) && text !== "NaN") throw malformed(line);
  return value;
}

function unescape(text: string): string {
  return text.replaceAll(/\\(.)/g, (_, character: string) => (character === "n" ? "\n" : character));
}

function malformed(line: string): Error {
  return new Error(`not a line of Prometheus's text format: ${line}`);
}
