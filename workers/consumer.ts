// Starts the consumer, which reads events from Kafka and stores them in PostgreSQL: `bun run workers/consumer.ts`.
import { ensurePackages } from "../shared/runtime/ensure-packages.ts";

// A static import of the program would need its packages before they are installed.
await ensurePackages();
await import("./consumer/program.ts");
