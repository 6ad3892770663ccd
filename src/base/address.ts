import { isIPv6 } from "node:net";

/** A host (name, IPv4 or bare IPv6) and a TCP port; port 0 asks for a free one. */
export type Address = Readonly<{ host: string; port: number }>;

/**
 * Reads `h`, `:p`, `h:p`, `[v6]`, `[v6]:p` or a bare IPv6 address; what is missing comes from `missing`.
 * Undefined if the text is nothing of the kind.
 */
export function parseAddress(text: string, missing: Address): Address | undefined {
  const match = /^(?:\[([^\]]+)\]|([^:[\]\s]*))(?::(\d{1,5}))?$/.exec(text);
  if (match === null) return isIPv6(text) ? { host: text, port: missing.port } : undefined;
  const [, v6, name, digits] = match;
  const port = digits === undefined ? missing.port : Number(digits);
  if (text === "" || port > 65_535 || (v6 !== undefined && !isIPv6(v6))) return undefined;
  return { host: v6 ?? (name || missing.host), port };
}

/** `10.0.0.5:5050`, `[::1]:5050`. */
export function formatAddress({ host, port }: Address): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Whether what is sent there stays on this machine. */
export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || /^127(?:\.\d{1,3}){3}$/.test(host);
}
