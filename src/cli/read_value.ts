import { type Address, parseAddress } from "../base/address.ts";
import { isIP } from "node:net";
import { parseDuration } from "../base/duration.ts";
import { parseFingerprint } from "../base/fingerprint.ts";
import { parseSize } from "../base/size.ts";
import { checkKey } from "../state/key.ts";
import type { Option } from "./options.ts";

export type Value = boolean | number | string | Address | Uint8Array | readonly string[];

/**
 * Reads one option's value; undefined if the text is not of the option's form.
 *
 * @throws {UsageError} naming the rule, if it is a key that breaks it.
 */
export function readValue(option: Option, text: string, hostMissing: Address): Value | undefined {
  switch (option.kind) {
    case "switch":
      return readSwitch(text);
    case "text":
      return text === "" || text.includes("\0") ? undefined : text;
    case "key":
      checkKey(text);
      return text;
    case "choice":
      return option.choices?.includes(text) ? text : undefined;
    case "address":
      return isNumber(text) ? undefined : parseAddress(text, hostMissing);
    case "pin":
      return parseFingerprint(text);
    case "hosts":
      return readHosts(text);
    case "count":
      return within(option, Number.MAX_SAFE_INTEGER, /^\d{1,15}$/.test(text) ? Number(text) : undefined);
    case "duration":
      return within(option, msMax, parseDuration(text));
    case "pace":
      return text === "auto" ? text : within(option, msMax, parseDuration(text));
    case "size":
      return within(option, Number.MAX_SAFE_INTEGER, parseSize(text));
  }
}

/** What a value of this option looks like, as the end of "takes ...". */
export function expectedForm(option: Option): string {
  switch (option.kind) {
    case "switch":
      return "nothing, true or false";
    case "text":
      return "a path";
    case "key":
      return "1 to 64 letters, digits, dots, dashes and underscores, of which the first is a letter or a digit";
    case "choice":
      return `one of ${option.choices?.join(", ")}`;
    case "address":
      return "a host, a port or both: h, :p, h:p or [v6]:p";
    case "pin":
      return "the SHA-256 fingerprint of a certificate, as a master prints it (64 hex digits), or in base64";
    case "hosts":
      return "names or addresses of hosts, with commas in between";
    case "count":
      return option.max === undefined
        ? `a whole number of at least ${option.min ?? 0}`
        : `a whole number from ${option.min ?? 0} to ${option.max}`;
    case "duration":
      return `a duration from ${option.min ?? 0}ms to ${msMax / 86_400_000}d, with its unit (ms, s, m, h, d)`;
    case "pace":
      return `auto, or ${expectedForm({ ...option, kind: "duration" })}`;
    case "size":
      return `a size of at least ${option.min ?? 0}, in bytes, KiB, MiB or GiB`;
  }
}

/** More on what was meant, as a sentence behind the others; empty if nothing can be guessed. */
export function hintOn(option: Option, text: string): string {
  if (option.kind !== "address") return "";
  if (isNumber(text)) return ` A port alone is written :${text}.`;
  return text.endsWith(":0") ? " Port 0, for any free one, is for masters only." : "";
}

/** Undefined if one of them is no host. */
function readHosts(text: string): readonly string[] | undefined {
  const hosts = text.split(",").map((host) => host.trim());
  const isHost = (host: string) =>
    isIP(host) !== 0 || (host.length <= 253 && /^(?:\*\.)?[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?$/i.test(host));
  return hosts.every(isHost) ? hosts : undefined;
}

/** A host of digits is an address in a form that nobody means. */
function isNumber(text: string): boolean {
  return /^\d+$/.test(text);
}

/** In whole days, the longest timer that every runtime keeps (2^31 ms): a longer one fires at once. */
const msMax = 24 * 86_400_000;

function within({ min = 0, max }: Option, maxOfAll: number, value: number | undefined): number | undefined {
  return value !== undefined && value >= min && value <= (max ?? maxOfAll) ? value : undefined;
}

function readSwitch(text: string): boolean | undefined {
  if (/^(?:1|true|yes|on)$/i.test(text)) return true;
  return /^(?:0|false|no|off)$/i.test(text) ? false : undefined;
}
