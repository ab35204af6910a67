// Shows the dead letters: how many for each reason, and the newest with their payloads as text.
import { useState } from "hono/jsx";
import type { DeadLetter, DeadLetters, PayloadPreview } from "../../api-schema.ts";
import { bytes, count, plural, time } from "../../text/format.ts";
import { Section, SourceNote, wasRead } from "./layout.tsx";

type Summary = DeadLetters["newest"][number];

export function DeadLettersSection({ deadLetters }: { deadLetters: DeadLetters }) {
  const { database, total, byReason, newest } = deadLetters;
  const isKnown = wasRead(database);
  const aside = isKnown ? totalsOf(deadLetters) : "";
  return (
    <Section id="dead-letters" title="Dead letters" aside={aside}>
      <SourceNote source={database} name="PostgreSQL" />
      {byReason.length > 0 && (
        <ul class="reasons" aria-label="By reason, of this process since its start">
          {byReason.map(({ reason, count: letters }) => (
            <li key={reason}>
              {reason} <b>{count(letters)}</b>
            </li>
          ))}
        </ul>
      )}
      {isKnown && total === 0 && newest.length === 0 && (
        <p class="card quiet">No record was rejected so far.</p>
      )}
      {newest.length > 0 && (
        <ul class="letters card" aria-label="The newest">
          {newest.map((letter) => (
            <li key={pathOf(letter)}>
              <Letter letter={letter} />
            </li>
          ))}
        </ul>
      )}
    </Section>
  );
}

/** "12 records, 2 of them discarded; 30 replayed" */
function totalsOf({ total, discarded, replayed }: DeadLetters): string {
  const kept = total === 0 ? "none" : plural(total, "record");
  const those = discarded === 0 ? kept : `${kept}, ${count(discarded)} of them discarded`;
  return replayed === 0 ? those : `${those}; ${count(replayed)} replayed`;
}

function pathOf({ topic, topicId, partition, reading, offset }: Summary): string {
  const query = reading === 0 ? "" : `?reading=${reading}`;
  return `/api/dead-letters/${encodeURIComponent(topic)}/${encodeURIComponent(topicId)}/${partition}/${offset}${query}`;
}

type Loaded = { readonly letter: DeadLetter } | { readonly problem: string } | undefined;

function Letter({ letter }: { letter: Summary }) {
  const [loaded, setLoaded] = useState<Loaded>(undefined);
  const load = async (): Promise<void> => {
    try {
      const response = await fetch(pathOf(letter));
      if (!response.ok) throw new Error((await response.text()).trim());
      setLoaded({ letter: (await response.json()) as DeadLetter });
    } catch (error) {
      setLoaded({ problem: error instanceof Error ? error.message : String(error) });
    }
  };
  const onToggle = (event: Event): void => {
    const isOpen = (event.target as HTMLDetailsElement).open;
    if (isOpen && (loaded === undefined || "problem" in loaded)) void load();
  };
  const { topic, partition, offset, reason, error, firstSeenAtMs, state, value } = letter;
  return (
    <details onToggle={onToggle}>
      <summary>
        <span class="when">{time(firstSeenAtMs)}</span>
        <span class="reason">
          {reason}
          {state !== "open" && ` · ${state}`}
        </span>
        <span class="error">{error}</span>
        <code class="preview">{value === null ? "(no value)" : value.shown}</code>
      </summary>
      <div class="letter">
        <p class="quiet">
          {topic}[{partition}] at offset {count(offset)}, first seen {new Date(firstSeenAtMs).toISOString()},
          rejected in stage {letter.stage}
        </p>
        {loaded === undefined && <p class="quiet">loading</p>}
        {loaded !== undefined && "problem" in loaded && <p class="bad">{loaded.problem}</p>}
        {loaded !== undefined && "letter" in loaded && (
          <>
            <History letter={loaded.letter} />
            <Bytes name="value" content={loaded.letter.value} sha256={loaded.letter.valueSha256} />
            <Bytes name="key" content={loaded.letter.key} />
            <Bytes name="headers" content={loaded.letter.headers} />
            {loaded.letter.mendedValue !== null && (
              <Bytes name="mended value" content={loaded.letter.mendedValue} />
            )}
          </>
        )}
      </div>
    </details>
  );
}

/** What replays and people have made of a letter. */
function History({ letter }: { letter: DeadLetter }) {
  const { state, attempts, changedAtMs, attemptError, eventId, discardReason } = letter;
  if (changedAtMs === null) return null;
  return (
    <p class="quiet">
      {state}, changed {new Date(changedAtMs).toISOString()}
      {attempts > 0 && `, ${plural(attempts, "replay")}`}
      {eventId !== null && `, became event ${eventId}`}
      {attemptError !== null && `, last rejected: ${attemptError}`}
      {discardReason !== null && `, because: ${discardReason}`}
    </p>
  );
}

function Bytes(props: { name: string; content: PayloadPreview | null; sha256?: string | null }) {
  const { name, content, sha256 = null } = props;
  if (content === null) {
    return (
      <p>
        <b>{name}</b> <span class="quiet">none</span>
      </p>
    );
  }
  const { form, shown, bytes: size, keptBytes, isCut } = content;
  return (
    <>
      <p>
        <b>{name}</b>{" "}
        <span class="quiet">
          {bytes(size)}
          {form === "hex" && ", not UTF-8, shown as hexadecimal"}
          {isCut && ", cut"}
          {keptBytes < size && `, of which the dead letter keeps ${bytes(keptBytes)}`}
          {sha256 !== null && `, SHA-256 ${sha256}`}
        </span>
      </p>
      <pre tabindex={0} aria-label={name}>
        {shown}
        {isCut && "…"}
      </pre>
    </>
  );
}
