// Describes and reads the configuration of the HTTP endpoints and the alerts.
import { Type } from "typebox";
import { readSection, type SectionSource, type SectionValues } from "./section.ts";
import { choice, decimal, integer, text } from "./setting.ts";

/** IPv6 and IPv4 alike; see listen() of http/server.ts. */
const ALL_ADDRESSES = "::";

export const MONITORING_SECTION = Type.Object({
  /** The address to listen on. */
  httpHost: text("HTTP_HOST", "", /^[a-zA-Z0-9._:-]*$/, "an address or a host name"),
  console: choice("CONSOLE", ["on", "off"], "on"),
  producerPort: integer("METRICS_PORT_PRODUCER", [0, 65_535], 8001),
  consumerPort: integer("METRICS_PORT_CONSUMER", [0, 65_535], 8002),
  prometheusUrl: text("PROMETHEUS_URL", "http://localhost:9090", isHttpUrl, "an http or https address", {
    isUrl: true,
  }),
  /** A share of the records, 0 to 1. */
  errorRateThreshold: decimal("ALERT_ERROR_RATE_THRESHOLD", [0, 1], 0.05),
  /** Records. */
  consumerLagThreshold: decimal("ALERT_CONSUMER_LAG_THRESHOLD", [0, Number.MAX_SAFE_INTEGER], 1000),
  processingLatencyThresholdSeconds: decimal("ALERT_PROCESSING_LATENCY_THRESHOLD", [0, 86_400], 5),
  /** Where alerts are posted; "" = nowhere. Anyone who knows the address can post there, so it is a secret. */
  alertWebhookUrl: text(
    "ALERT_WEBHOOK_URL",
    "",
    (url) => url === "" || isHttpUrl(url),
    "an http or https address",
    { isSecret: true },
  ),
});

export interface MonitoringConfig extends SectionValues<typeof MONITORING_SECTION.properties> {
  /** Who may see the console and errors; other machines only if HTTP_HOST opens them. */
  readonly access: "this_machine" | "anyone";
}

export function readMonitoringConfig(source: SectionSource): MonitoringConfig {
  const values = readSection(MONITORING_SECTION, source);
  const { httpHost } = values;
  return {
    ...values,
    httpHost: httpHost || ALL_ADDRESSES,
    access: httpHost === "" || /^(localhost|127\.[\d.]+|::1)$/i.test(httpHost) ? "this_machine" : "anyone",
  };
}

function isHttpUrl(url: string): boolean {
  return URL.canParse(url) && /^https?:$/.test(new URL(url).protocol);
}
