import { networkInterfaces } from "node:os";

/**
 * A host under which other machines reach one that listens on `host`: for a wildcard, this machine's first
 * address that is not loopback (IPv4 before IPv6), or `localhost` if it has none.
 */
export function reachableHost(host: string): string {
  if (host !== "0.0.0.0" && host !== "::" && host !== "") return host;
  const addresses = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
  const outside = addresses.filter(({ internal, address }) => !internal && !address.startsWith("fe80:"));
  const first = outside.find(({ family }) => family === "IPv4") ?? outside[0];
  return first?.address ?? "localhost";
}
