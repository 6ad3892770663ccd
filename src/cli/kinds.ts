import { isIP } from "node:net";
import { parseFingerprint } from "../lib/bytes.ts";
import { type Address, parseAddress, parseDuration, parseRate, parseSize } from "../lib/units.ts";
import { checkKey } from "../state/disk.ts";

/** What an option allows of its kind. */
export type Allowed = Readonly<{
  /** Smallest and largest number, milliseconds or bytes. */
  min?: number;
  max?: number;
  choices?: readonly string[];
}>;

export type KindRow = Readonly<{
  /**
   * Reads a value; undefined if the text is not of this form.
   *
   * @param missing what an address leaves out.
   * @throws {UsageError} naming the rule, if it is a key that breaks it.
   */
  read: (text: string, allowed: Allowed, missing: Address) => unknown;
  /** What a value looks like, as the end of "takes ...". */
  form: (allowed: Allowed) => string;
  /** What was meant by a text that is not of this form, as a sentence. */
  hint?: (text: string) => string | undefined;
}>;

/** The smallest and the largest rate, a second. */
const rateMin = 1 / 3_600, rateMax = 1_000_000;

const count = {
  read: (text, allowed) => within(allowed, countMax, /^\d{1,15}$/.test(text) ? Number(text) : undefined),
  form: ({ min = 0, max }) =>
    max === undefined ? `a whole number of at least ${min}` : `a whole number from ${min} to ${max}`,
} as const satisfies KindRow;

const duration = {
  read: (text, allowed) => within(allowed, msMax, parseDuration(text)),
  form: ({ min = 0 }) => `a duration from ${min}ms to ${msMax / 86_400_000}d, with its unit (ms, s, m, h, d)`,
} as const satisfies KindRow;

const size = {
  read: (text, allowed) => within(allowed, countMax, parseSize(text)),
  form: ({ min = 0 }) => `a size of at least ${min}, in bytes, KiB, MiB or GiB`,
} as const satisfies KindRow;

/** Every kind of option: how a value is read, and what it looks like. */
export const kinds = {
  switch: { read: readSwitch, form: () => "nothing, true or false" },
  text: {
    read: (text) => text === "" || text.includes("\0") ? undefined : text,
    form: () => "a path",
  },
  key: {
    read: (text) => (checkKey(text), text),
    form: () =>
      "1 to 64 letters, digits, dots, dashes and underscores, of which the first is a letter or a digit",
  },
  choice: {
    read: (text, { choices }) => choices?.includes(text) ? text : undefined,
    form: ({ choices }) => `one of ${choices?.join(", ")}`,
  },
  address: {
    read: (text, _, missing) => isNumber(text) ? undefined : parseAddress(text, missing),
    form: () => "a host, a port or both: h, :p, h:p or [v6]:p",
    hint: (text) => {
      if (isNumber(text)) return `A port alone is written :${text}.`;
      return text.endsWith(":0") ? "Port 0, for any free one, is for masters only." : undefined;
    },
  },
  pin: {
    read: (text) => parseFingerprint(text),
    form: () =>
      "the SHA-256 fingerprint of a certificate, as a master prints it (64 hex digits), or in base64",
  },
  hosts: { read: readHosts, form: () => "names or addresses of hosts, with commas in between" },
  group: {
    read: (text) => /^[\da-f]{8}$/.test(text) ? text : undefined,
    form: () => "a group as `taskmaster dead` prints it: 8 hex digits",
  },
  seqs: { read: readSeqs, form: () => "numbers of jobs, with commas in between" },
  count,
  duration,
  pace: {
    read: (text, allowed) => text === "auto" ? "auto" as const : duration.read(text, allowed),
    form: (allowed) => `auto, or ${duration.form(allowed)}`,
  },
  size,
  rate: {
    read: (text) => {
      const perSecond = parseRate(text);
      return perSecond !== undefined && perSecond >= rateMin && perSecond <= rateMax ? perSecond : undefined;
    },
    form: () => `a rate from 1/h to ${rateMax}/s, with its unit (/s, /m, /h)`,
  },
} as const satisfies Readonly<Record<string, KindRow>>;

export type Kind = keyof typeof kinds;

/** What comes of a value of a kind. */
export type ValueOf<K extends Kind> = NonNullable<ReturnType<(typeof kinds)[K]["read"]>>;

/** Undefined if one of them is no host. */
function readHosts(text: string): readonly string[] | undefined {
  const hosts = text.split(",").map((host) => host.trim());
  const isHost = (host: string) =>
    isIP(host) !== 0 || (host.length <= 253 && /^(?:\*\.)?[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?$/i.test(host));
  return hosts.every(isHost) ? hosts : undefined;
}

/** Undefined if one of them is no number of a job. */
function readSeqs(text: string): readonly number[] | undefined {
  const seqs = text.split(",").map((seq) => count.read(seq.trim(), {}));
  return seqs.every((seq) => seq !== undefined) ? seqs : undefined;
}

/** Whether a host is only a number: an IPv4 address in a form that nobody means. */
function isNumber(text: string): boolean {
  return /^\d+$/.test(text);
}

const countMax = Number.MAX_SAFE_INTEGER;
/** In whole days, the longest timer that every runtime keeps (2^31 ms): a longer one fires at once. */
const msMax = 24 * 86_400_000;

function within({ min = 0, max }: Allowed, maxOfAll: number, value: number | undefined): number | undefined {
  return value !== undefined && value >= min && value <= (max ?? maxOfAll) ? value : undefined;
}

function readSwitch(text: string): boolean | undefined {
  if (/^(?:1|true|yes|on)$/i.test(text)) return true;
  return /^(?:0|false|no|off)$/i.test(text) ? false : undefined;
}
