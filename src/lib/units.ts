import { isIPv6 } from "node:net";

const unitMs: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** Longest text that is parsed: summing up a megabyte of durations would take a second. */
const textCharsMax = 64;

/**
 * Parses a duration such as `500ms`, `30s`, `1.5m`, `2h`, `1d` or `1h30m` to milliseconds; undefined if the text is not
 * one.
 */
export function parseDuration(text: string): number | undefined {
  if (text.length > textCharsMax || !/^(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+$/.test(text)) return undefined;
  let ms = 0;
  for (const [, number, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h|d)/g)) {
    ms += Number(number) * unitMs[unit!]!;
  }
  return Math.round(ms);
}

/** Formats a duration for people, in at most two units: `850ms`, `1.5s`, `45s`, `2m05s`, `3h07m`, `2d03h`. */
export function formatDuration(ms: number): string {
  if (ms < 1_000) return `${Math.round(ms)}ms`;
  if (ms < 9_950) return `${Number((ms / 1_000).toFixed(1))}s`;
  const s = Math.round(ms / 1_000);
  if (s < 60) return `${s}s`;
  if (s < 3_600) return `${Math.floor(s / 60)}m${two(s % 60)}s`;
  if (s < 86_400) return `${Math.floor(s / 3_600)}h${two(Math.floor(s / 60) % 60)}m`;
  return `${Math.floor(s / 86_400)}d${two(Math.floor(s / 3_600) % 24)}h`;
}

/** Formats elapsed time as hours, minutes and whole seconds: `0:00:40`, `26:03:04`. Hours go beyond 24. */
export function formatElapsed(ms: number): string {
  const s = Math.max(0, Math.floor(ms / 1_000));
  return `${Math.floor(s / 3_600)}:${two(Math.floor(s / 60) % 60)}:${two(s % 60)}`;
}

function two(number: number): string {
  return String(number).padStart(2, "0");
}

/** Parses a rate such as `500/s`, `0.5/s`, `100/m` or `10/h` to a number a second; undefined if the text is not one. */
export function parseRate(text: string): number | undefined {
  const match = /^(\d{1,12}(?:\.\d{1,6})?)\/(s|m|h)$/.exec(text);
  return match === null ? undefined : Number(match[1]) * 1_000 / unitMs[match[2]!]!;
}

/** Formats a rate in the shortest unit that gives a whole number, else in the first that gives at least one: `100/m`. */
export function formatRate(perSecond: number): string {
  const all = Object.entries({ s: 1, m: 60, h: 3_600 }).map(([unit, seconds]) =>
    [Number((perSecond * seconds).toPrecision(6)), unit] as const
  );
  const [number, unit] = all.find(([number]) => number >= 1 && Number.isInteger(number)) ??
    all.find(([number]) => number >= 1) ?? all[2]!;
  return `${number}/${unit}`;
}

const binary = ["B", "KiB", "MiB", "GiB", "TiB"] as const;
const unitBytes: Readonly<Record<string, number>> = {
  b: 1,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  tb: 1e12,
  kib: 2 ** 10,
  mib: 2 ** 20,
  gib: 2 ** 30,
  tib: 2 ** 40,
};

/**
 * Parses a size such as `64MiB`, `500kB`, `1.5GiB`, `4096B` or bare `4096` to bytes; undefined if the text is not one.
 */
export function parseSize(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)([kmgt]i?b|b)?$/i.exec(text);
  if (match === null) return undefined;
  return Math.round(Number(match[1]) * unitBytes[(match[2] ?? "b").toLowerCase()]!);
}

/** Formats a size: `512B`, `64MiB`, `1.5GiB`. */
export function formatSize(bytes: number): string {
  const power = bytes < 1 ? 0 : Math.min(Math.floor(Math.log2(bytes) / 10), binary.length - 1);
  return `${Number((bytes / 2 ** (power * 10)).toFixed(1))}${binary[power]}`;
}

/** A host (name, IPv4 or bare IPv6) and a TCP port; port 0 asks for a free one. */
export type Address = Readonly<{ host: string; port: number }>;

/**
 * Parses `h`, `:p`, `h:p`, `[v6]`, `[v6]:p` or a bare IPv6 address; `missing` provides the missing part. Undefined if
 * the text is not an address.
 */
export function parseAddress(text: string, missing: Address): Address | undefined {
  const match = /^(?:\[([^\]]+)\]|([^:[\]\s]*))(?::(\d{1,5}))?$/.exec(text);
  if (match === null) return isIPv6(text) ? { host: text, port: missing.port } : undefined;
  const [, v6, name, digits] = match;
  const port = digits === undefined ? missing.port : Number(digits);
  if (text === "" || port > 65_535 || (v6 !== undefined && !isIPv6(v6))) return undefined;
  return { host: v6 ?? (name || missing.host), port };
}

/** Formats an address: `10.0.0.5:5050`, `[::1]:5050`. */
export function formatAddress({ host, port }: Address): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Whether data sent to this host stays on this machine. */
export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || /^127(?:\.\d{1,3}){3}$/.test(host);
}

/** Exponential backoff: the pause after `tries` failed tries, `firstMs` doubled each time, at most `maxMs`. */
export function backoffMs(tries: number, firstMs: number, maxMs: number): number {
  return Math.min(maxMs, firstMs * 2 ** tries);
}
