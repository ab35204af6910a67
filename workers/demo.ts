// Nothing in; the whole pipeline on this machine, watched, and its ledger out: `bun run demo`.
import { FatalError } from "../shared/runtime/errors.ts";
import { Resources } from "../shared/runtime/resources.ts";
import { runProgram } from "../shared/runtime/run-program.ts";
import type { StopSignal } from "../shared/runtime/stop-signal.ts";
import { checkDatabase } from "../shared/store/check/check.ts";
import { formatLedger } from "../shared/store/check/format.ts";
import { Session } from "../shared/store/session.ts";
import { ConsumerProcess } from "./demo/consumer-process.ts";
import { consumerEnvironment, WORKERS } from "./demo/consumer-settings.ts";
import { plural } from "../shared/text/format.ts";
import { inkFor } from "./demo/colors.ts";
import { proveLedger } from "./demo/end-to-end-proofs.ts";
import { LogEnds } from "./demo/log-ends.ts";
import { Observer } from "./demo/observer.ts";
import { type Presenter, present } from "./demo/live-view.ts";
import { Publisher } from "./demo/publisher.ts";
import { Run, type RunOptions } from "./demo/run.ts";
import { CONSUMER_GROUP, type Servers, startServers } from "./demo/servers.ts";
import { Steps } from "./demo/startup-log.ts";
import { type DemoOptions, OPTIONS, readOptions, USAGE } from "./demo/options.ts";

const DEFAULT_PORT = 8002;
/** Another program may take the port between the look at it and the consumer's start. */
const MOST_PORTS = 3;
const RELEASE_DEADLINE_MS = 5000;

await runProgram({ usage: USAGE, options: OPTIONS }, async (stop, values) => {
  const options = readOptions(values);
  await using resources = new Resources();
  return await demo(options, stop, resources);
});

async function demo(options: DemoOptions, stop: StopSignal, resources: Resources): Promise<0 | 1> {
  const out = process.stdout;
  out.on("error", () => stop.request("nobody reads what it says")); // `bun run demo | head`
  const ink = inkFor(out, process.env);
  const columns = out.isTTY ? out.columns : undefined;
  const steps = new Steps({ ink, columns, write: (text) => out.write(text) });
  out.write(`${ink.title("event-pipeline demo")}  producer -> Kafka -> consumer -> PostgreSQL\n`);
  const started = await stop.orStopped(start(options, stop, resources, steps));
  if (started === undefined) {
    steps.end();
    throw new FatalError("stopped during the start: nothing was published");
  }

  const run = new Run(started.pipeline);
  let presenter: Presenter | undefined;
  try {
    await run.flow(stop, () => {
      steps.done("first event", "committed in PostgreSQL");
      presenter = present(out, ink, () => run.snapshot());
    });
    await run.drain();
  } finally {
    presenter?.stop();
  }

  out.write("\nchecking the database ...\n");
  const report = await checkDatabase(started.session.sql);
  const invariants = [...proveLedger(run.figures()), ...report.invariants];
  const ok = invariants.every((invariant) => invariant.ok);
  out.write(`\n${formatLedger({ ok, invariants })}`);
  return ok ? 0 : 1;
}

/** Starts everything, side by side where it can be. @returns undefined when a stop was requested before */
async function start(
  options: DemoOptions,
  stop: StopSignal,
  resources: Resources,
  steps: Steps,
): Promise<{ pipeline: RunOptions; session: Session } | undefined> {
  const servers = await startServers(resources, steps);
  const starting = startConsumer(servers, stop, resources);
  starting.catch(() => undefined); // awaited below
  const [logEnds, session] = await Promise.all([
    openLogEnds(servers, resources),
    openSession(servers, resources),
  ]);
  const observer = new Observer({ session, logEnds });
  resources.defer("the views", RELEASE_DEADLINE_MS, () => observer.stop());
  const publisher = new Publisher({ ...options, servers, consumedRecords: () => observer.consumedRecords });
  resources.defer("the producer", RELEASE_DEADLINE_MS, async () => {
    publisher.stop("the demo ends");
    await publisher.ended.catch(() => undefined);
  });
  const consumer = await Promise.race([starting, publisher.ended.then(() => undefined)]);
  if (consumer === undefined) return undefined;
  steps.done("consumer", `process ${consumer.pid}, ${plural(WORKERS, "worker")}, ${consumer.url("/")}`);
  observer.start(consumer.url("/metrics"), () => publisher.deliveries.acknowledged);
  return { pipeline: { ...options, servers, consumer, publisher, observer }, session };
}

async function openLogEnds(servers: Servers, resources: Resources): Promise<LogEnds> {
  const logEnds = await LogEnds.open(servers);
  resources.defer("the view of the broker", RELEASE_DEADLINE_MS, () => logEnds.close());
  return logEnds;
}

async function openSession({ database }: Servers, resources: Resources): Promise<Session> {
  const session = await Session.open(database, { role: "check", consumerGroup: CONSUMER_GROUP });
  resources.defer("the view of the database", RELEASE_DEADLINE_MS, () => session.close());
  return session;
}

/** @returns undefined when a stop was requested before */
async function startConsumer(
  servers: Servers,
  stop: StopSignal,
  resources: Resources,
): Promise<ConsumerProcess | undefined> {
  const wanted = Number(process.env["METRICS_PORT_CONSUMER"] ?? "");
  const port = Number.isInteger(wanted) && wanted > 0 && wanted < 65_536 ? wanted : DEFAULT_PORT;
  for (let attempt = 1; !stop.isRequested; attempt++) {
    const consumer = await ConsumerProcess.start(consumerEnvironment(servers), port, servers.consumerLog);
    resources.defer("the consumer", RELEASE_DEADLINE_MS, () => consumer[Symbol.asyncDispose]());
    try {
      await consumer.untilReady();
      return consumer;
    } catch (error) {
      if (attempt === MOST_PORTS || !consumer.tail().includes("is taken by another program")) throw error;
    }
  }
  return undefined;
}
