// Starts the producer, which publishes events to Kafka: `bun run workers/producer.ts`.
import { ensurePackages } from "../shared/runtime/ensure-packages.ts";

// A static import of the program would need its packages before they are installed.
await ensurePackages();
await import("./producer/program.ts");
