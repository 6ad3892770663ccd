import { type Address, parseAddress } from "../base/address.ts";
import { parseDuration } from "../base/duration.ts";
import { parseSize } from "../base/size.ts";
import { checkKey } from "../state/key.ts";
import type { Option } from "./options.ts";

export type Value = boolean | number | string | Address;

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
      return parseAddress(text, hostMissing);
    case "count":
      return atLeast(option.min, /^\d{1,15}$/.test(text) ? Number(text) : undefined);
    case "duration":
      return atLeast(option.min, within(parseDuration(text), msMax));
    case "size":
      return atLeast(option.min, within(parseSize(text), Number.MAX_SAFE_INTEGER));
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
    case "count":
      return `a whole number of at least ${option.min ?? 0}`;
    case "duration":
      return `a duration of at least ${option.min ?? 0}ms, with its unit (ms, s, m, h, d)`;
    case "size":
      return "a size in bytes, KiB, MiB or GiB";
  }
}

/** Longest timer that every runtime keeps: a longer one fires at once. */
const msMax = 2 ** 31 - 1;

function within(value: number | undefined, max: number): number | undefined {
  return value !== undefined && value <= max ? value : undefined;
}

function atLeast(min = 0, value: number | undefined): number | undefined {
  return value !== undefined && value >= min ? value : undefined;
}

function readSwitch(text: string): boolean | undefined {
  if (/^(?:1|true|yes|on)$/i.test(text)) return true;
  return /^(?:0|false|no|off)$/i.test(text) ? false : undefined;
}
