// Describes and reads the configuration of the HTTP endpoints and the alerts.
import { Type } from "typebox";
import { readSection, type SectionSource, type SectionValues } from "./section.ts";

const ALL_ADDRESSES = "0.0.0.0";
const HTTP_URL = { allowed: "an http or https address" };

export const MONITORING_SECTION = Type.Object({
  /** The address to listen on. */
  httpHost: Type.String({
    variable: "HTTP_HOST",
    default: "",
    pattern: /^[a-zA-Z0-9._:-]*$/,
    allowed: "an address or a host name",
  }),
  producerPort: Type.Integer({
    variable: "METRICS_PORT_PRODUCER",
    default: 8001,
    minimum: 0,
    maximum: 65_535,
  }),
  consumerPort: Type.Integer({
    variable: "METRICS_PORT_CONSUMER",
    default: 8002,
    minimum: 0,
    maximum: 65_535,
  }),
  prometheusUrl: Type.Refine(
    Type.String({ variable: "PROMETHEUS_URL", default: "http://localhost:9090", ...HTTP_URL }),
    isHttpUrl,
  ),
  /** A share of the records, 0 to 1. */
  errorRateThreshold: Type.Number({
    variable: "ALERT_ERROR_RATE_THRESHOLD",
    default: 0.05,
    minimum: 0,
    maximum: 1,
  }),
  /** Records. */
  consumerLagThreshold: Type.Number({
    variable: "ALERT_CONSUMER_LAG_THRESHOLD",
    default: 1000,
    minimum: 0,
    maximum: Number.MAX_SAFE_INTEGER,
  }),
  processingLatencyThresholdSeconds: Type.Number({
    variable: "ALERT_PROCESSING_LATENCY_THRESHOLD",
    default: 5,
    minimum: 0,
    maximum: 86_400,
  }),
  /** Where alerts are posted; "" = nowhere. Anyone who knows the address can post there, so it is a secret. */
  alertWebhookUrl: Type.Refine(
    Type.String({ variable: "ALERT_WEBHOOK_URL", default: "", isSecret: true, ...HTTP_URL }),
    (url) => url === "" || isHttpUrl(url),
  ),
});

export interface MonitoringConfig extends SectionValues<typeof MONITORING_SECTION.properties> {
  /** Who may see the console and /api; other machines only where HTTP_HOST says so. */
  readonly consoleAccess: "this_machine" | "anyone";
}

export function readMonitoringConfig(source: SectionSource): MonitoringConfig {
  const values = readSection(MONITORING_SECTION, source);
  const { httpHost } = values;
  return {
    ...values,
    httpHost: httpHost || ALL_ADDRESSES,
    consoleAccess:
      httpHost === "" || /^(localhost|127\.[\d.]+|::1)$/i.test(httpHost) ? "this_machine" : "anyone",
  };
}

function isHttpUrl(text: string): boolean {
  return URL.canParse(text) && /^https?:$/.test(new URL(text).protocol);
}
