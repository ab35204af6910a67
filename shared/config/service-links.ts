// Leaves out the variables that Kubernetes and Docker put into a container for each service beside it.
import type { Environment } from "./environment.ts";

/** DB_SERVICE_HOST, DB_SERVICE_PORT_HTTP, DB_PORT_5432_TCP_ADDR: no variable of this program has such a name. */
const LINK_NAME = /_SERVICE_(HOST|PORT(_\w+)?)$|_PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?$/;
const LINK_PORT = /^(tcp|udp|sctp):\/\/\S+:\d+$/;
/** The name of a Docker link: the container and the link in it. */
const LINK_ALIAS = /^\/[^/]+\/[^/]+$/;

/**
 * A service called `db` sets DB_PORT to `tcp://10.0.0.7:5432`, and a link called `db` sets DB_NAME to `/consumer/db` as
 * well, in containers that are not asked. They are left out as if they were not set.
 */
export function withoutServiceLinks(environment: Environment): Environment {
  const isLink = (service: string): boolean => LINK_PORT.test(environment[`${service}_PORT`] ?? "");
  const own = Object.entries(environment).filter(([name, value = ""]) => {
    if (LINK_NAME.test(name)) return false;
    if (name.endsWith("_PORT")) return !LINK_PORT.test(value);
    return !(name.endsWith("_NAME") && LINK_ALIAS.test(value) && isLink(name.slice(0, -"_NAME".length)));
  });
  return Object.fromEntries(own);
}
