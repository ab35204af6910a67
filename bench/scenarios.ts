// Lists the scenarios of the bench, in the order in which they run.
import { drainScenario } from "./scenarios/drain.ts";
import { duplicatesScenario } from "./scenarios/duplicates.ts";
import { formsScenario } from "./scenarios/forms.ts";
import { growthScenario } from "./scenarios/growth.ts";
import { hostileScenario } from "./scenarios/hostile.ts";
import { idleScenario } from "./scenarios/idle.ts";
import { latencyScenario } from "./scenarios/latency.ts";
import { lettersScenario } from "./scenarios/letters.ts";
import { peerScenario } from "./scenarios/peer.ts";
import { pinnedScenario } from "./scenarios/pinned.ts";
import { producerScenario } from "./scenarios/producer.ts";
import { rebalanceScenario } from "./scenarios/rebalance.ts";
import { rebuildScenario } from "./scenarios/rebuild.ts";
import { retentionScenario } from "./scenarios/retention.ts";
import { rewindScenario } from "./scenarios/rewind.ts";
import { settingsScenario } from "./scenarios/settings.ts";
import { soakScenario } from "./scenarios/soak.ts";
import { stagesScenario } from "./scenarios/stages.ts";

export const SCENARIOS = {
  drain: drainScenario,
  peer: peerScenario,
  pinned: pinnedScenario,
  producer: producerScenario,
  latency: latencyScenario,
  idle: idleScenario,
  growth: growthScenario,
  settings: settingsScenario,
  soak: soakScenario,
  forms: formsScenario,
  duplicates: duplicatesScenario,
  hostile: hostileScenario,
  rebalance: rebalanceScenario,
  rebuild: rebuildScenario,
  rewind: rewindScenario,
  retention: retentionScenario,
  letters: lettersScenario,
  stages: stagesScenario,
};

export type ScenarioName = keyof typeof SCENARIOS;
export const SCENARIO_NAMES = Object.keys(SCENARIOS) as ScenarioName[];
