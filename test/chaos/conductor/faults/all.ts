// Lists every fault that a chaos run knows.
import type { Fault } from "../fault.ts";
import { BROKER_FAULTS } from "./brokers.ts";
import { CLOCK_FAULTS } from "./clock.ts";
import { CONSUMER_FAULTS } from "./consumers.ts";
import { LOAD_FAULTS } from "./load.ts";
import { LOG_FAULTS } from "./logs.ts";
import { NETWORK_FAULTS } from "./network.ts";
import { UNCLEAN_ELECTION } from "./unclean-election.ts";
import { POSTGRES_FAULTS } from "./postgres.ts";
import { TABLE_FAULTS } from "./tables.ts";

export const FAULTS: readonly Fault[] = [
  ...CONSUMER_FAULTS,
  ...LOAD_FAULTS,
  ...BROKER_FAULTS,
  ...LOG_FAULTS,
  UNCLEAN_ELECTION,
  ...POSTGRES_FAULTS,
  ...TABLE_FAULTS,
  ...NETWORK_FAULTS,
  ...CLOCK_FAULTS,
];
