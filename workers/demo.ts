// Runs the whole pipeline on this machine, shows it live, and proves its result: `bun run demo`.
import { AdminClient } from "../shared/kafka/admin-client.ts";
import { adminSettings } from "../shared/kafka/settings.ts";
import { FatalError } from "../shared/runtime/errors.ts";
import { Resources } from "../shared/runtime/resources.ts";
import { runProgram } from "../shared/runtime/run-program.ts";
import type { StopSignal } from "../shared/runtime/stop-signal.ts";
import { checkDatabase } from "../shared/store/check/check.ts";
import { formatProofs } from "../shared/store/check/format.ts";
import { Session } from "../shared/store/session.ts";
import { ConsumerProcess } from "./demo/consumer-process.ts";
import { consumerEnvironment, WORKERS } from "./demo/consumer-environment.ts";
import { plural } from "../shared/text/format.ts";
import { paletteFor } from "./demo/colors.ts";
import { proveEndToEnd } from "./demo/end-to-end-proofs.ts";
import { Observer } from "./demo/observer.ts";
import { type LiveView, startLiveView } from "./demo/live-view.ts";
import { Publisher } from "./demo/publisher.ts";
import { Run, type RunOptions } from "./demo/run.ts";
import { CONSUMER_GROUP, type Servers, startServers } from "./demo/servers.ts";
import { StartupLog } from "./demo/startup-log.ts";
import { type DemoOptions, OPTIONS, readOptions, USAGE } from "./demo/options.ts";

const DEFAULT_PORT = 8002;
/** Another program may take the port between the check and the consumer's start. */
const MAX_PORTS = 3;
const RELEASE_DEADLINE_MS = 5000;

await runProgram({ usage: USAGE, options: OPTIONS }, async (stop, values) => {
  const options = readOptions(values);
  await using resources = new Resources();
  return await demo(options, stop, resources);
});

async function demo(options: DemoOptions, stop: StopSignal, resources: Resources): Promise<0 | 1> {
  const out = process.stdout;
  out.on("error", () => stop.request("standard output is closed")); // `bun run demo | head`
  const palette = paletteFor(out, process.env);
  const columns = out.isTTY ? out.columns : undefined;
  const startup = new StartupLog({ palette, columns, write: (text) => out.write(text) });
  out.write(`${palette.title("event-pipeline demo")}  producer -> Kafka -> consumer -> PostgreSQL\n`);
  const started = await stop.orStopped(start(options, stop, resources, startup));
  if (started === undefined) {
    startup.end();
    throw new FatalError("stopped during the start: nothing was published");
  }

  const run = new Run(started.pipeline);
  let view: LiveView | undefined;
  try {
    await run.produce(stop, () => {
      startup.done("first event", "committed in PostgreSQL");
      view = startLiveView(out, palette, () => run.snapshot());
    });
    await run.drain();
  } finally {
    view?.stop();
  }

  out.write("\nchecking the database ...\n");
  const report = await checkDatabase(started.session.sql);
  const invariants = [...proveEndToEnd(run.figures(report.partitions)), ...report.invariants];
  const ok = invariants.every((invariant) => invariant.ok);
  out.write(`\n${formatProofs({ ok, invariants })}`);
  return ok ? 0 : 1;
}

/** Starts everything, in parallel where possible. @returns undefined if a stop was requested before */
async function start(
  options: DemoOptions,
  stop: StopSignal,
  resources: Resources,
  startup: StartupLog,
): Promise<{ pipeline: RunOptions; session: Session } | undefined> {
  const servers = await startServers(resources, startup);
  const starting = startConsumer(servers, stop, resources);
  starting.catch(() => undefined); // awaited below
  const [admin, session] = await Promise.all([
    openAdmin(servers, resources),
    openSession(servers, resources),
  ]);
  const observer = new Observer({ session, admin, acknowledged: () => publisher.deliveries.acknowledged });
  resources.defer("the observer", RELEASE_DEADLINE_MS, () => observer.stop());
  const publisher = new Publisher({ ...options, servers, consumedRecords: () => observer.consumedRecords });
  resources.defer("the producer", RELEASE_DEADLINE_MS, async () => {
    publisher.stop("the demo ends");
    await publisher.ended.catch(() => undefined);
  });
  const consumer = await Promise.race([starting, publisher.ended.then(() => undefined)]);
  if (consumer === undefined) return undefined;
  startup.done("consumer", `process ${consumer.pid}, ${plural(WORKERS, "worker")}, ${consumer.url("/")}`);
  observer.start(consumer.url(""));
  return { pipeline: { ...options, servers, consumer, publisher, observer }, session };
}

async function openAdmin({ broker }: Servers, resources: Resources): Promise<AdminClient> {
  const { bootstrapServers } = broker;
  const settings = adminSettings({ bootstrapServers, consumerGroup: CONSUMER_GROUP, passThrough: {} });
  const admin = await AdminClient.open(settings);
  resources.defer("the broker's admin client", RELEASE_DEADLINE_MS, () => admin.close());
  return admin;
}

async function openSession({ database }: Servers, resources: Resources): Promise<Session> {
  const session = await Session.open(database, { role: "check", consumerGroup: CONSUMER_GROUP });
  resources.defer("the session with the database", RELEASE_DEADLINE_MS, () => session.close());
  return session;
}

/** @returns undefined if a stop was requested before */
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
      if (attempt === MAX_PORTS || !consumer.tail().includes("is taken by another program")) throw error;
    }
  }
  return undefined;
}
