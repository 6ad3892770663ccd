import type { Ranges } from "../base/ranges.ts";
import { FrameError } from "./frame_error.ts";

/** Turns a decoded value into what a field holds, or refuses it. `field` is for the words only. */
export type Check<T> = (value: unknown, field: string) => T;

/** What an absent field is, in the check of one that may be absent. */
const absent = Symbol("absent");

/** Undefined where the field is absent, else what passes `check`. */
export function optional<T>(check: Check<T>): Check<T | undefined> {
  return Object.assign((value: unknown, field: string) => check(value, field), { [absent]: true });
}

/** The checks of all fields of one record. */
export type Shape<R> = { readonly [F in keyof R]-?: Check<R[F]> };

/** A whole number from `min` to `max`; 64-bit encodings arrive as bigint. */
export function whole(min: number, max: number): Check<number> {
  return (value, field) => {
    const number = typeof value === "bigint" ? Number(value) : value;
    if (typeof number !== "number" || !Number.isSafeInteger(number)) throw wrong(field, "is no whole number");
    if (number < min || number > max) throw wrong(field, `is ${number}, not within ${min} to ${max}`);
    return number;
  };
}

/** A number of milliseconds, with fractions, from 0. */
export const elapsedMs: Check<number> = (value, field) => {
  const number = typeof value === "bigint" ? Number(value) : value;
  if (typeof number !== "number" || !(number >= 0 && number < Infinity)) throw wrong(field, "is no duration");
  return number;
};

/** Text of at most `charsMax` UTF-16 units. */
export function text(charsMax: number): Check<string> {
  return (value, field) => {
    if (typeof value !== "string") throw wrong(field, "is no text");
    if (value.length > charsMax) throw wrong(field, `has ${value.length} characters, more than ${charsMax}`);
    return value;
  };
}

/** Any byte string; or, with `length`, one of just that many bytes. */
export function bytes(length?: number): Check<Uint8Array> {
  return (value, field) => {
    if (!(value instanceof Uint8Array)) throw wrong(field, "is no byte string");
    if (length !== undefined && value.length !== length) {
      throw wrong(field, `has ${value.length} bytes, not ${length}`);
    }
    return value;
  };
}

/** One of these words. */
export function oneOf<const W extends string>(...words: readonly W[]): Check<W> {
  return (value, field) => {
    if (!words.includes(value as W)) throw wrong(field, `is none of ${words.join(", ")}`);
    return value as W;
  };
}

export const boolean: Check<boolean> = (value, field) => {
  if (typeof value !== "boolean") throw wrong(field, "is neither true nor false");
  return value;
};

/** Whole numbers as half-open intervals, ascending, neither empty nor touching. */
export const ranges: Check<Ranges> = (value, field) => {
  if (!Array.isArray(value) || value.length % 2 !== 0) throw wrong(field, "is no list of pairs");
  const numbers = value.map((bound) => typeof bound === "bigint" ? Number(bound) : bound);
  let last = -1;
  for (let index = 0; index < numbers.length; index++) {
    const bound: unknown = numbers[index];
    if (typeof bound !== "number" || !Number.isSafeInteger(bound)) {
      throw wrong(field, "has a bound that is no whole number");
    }
    if (bound <= last) throw wrong(field, "is not ascending");
    last = bound;
  }
  return numbers;
};

/** A list of at most `membersMax` members that pass `check`. */
export function list<T>(check: Check<T>, membersMax = Infinity): Check<readonly T[]> {
  return (value, field) => {
    if (!Array.isArray(value)) throw wrong(field, "is no list");
    if (value.length > membersMax) {
      throw wrong(field, `has ${value.length} members, more than ${membersMax}`);
    }
    return value.map((member) => check(member, field));
  };
}

/** Null, or what passes `check`. */
export function nullable<T>(check: Check<T>): Check<T | null> {
  return (value, field) => value === null ? null : check(value, field);
}

/** A plain map from text to what passes `check`. */
export function record<T>(entriesMax: number, check: Check<T>): Check<Readonly<Record<string, T>>> {
  return (value, field) => {
    const entries = Object.entries(plainObject(value, field));
    if (entries.length > entriesMax) {
      throw wrong(field, `has ${entries.length} entries, more than ${entriesMax}`);
    }
    return Object.fromEntries(
      entries.map(([key, member]) => [key, check(member, `${field}.${key.slice(0, 40)}`)]),
    );
  };
}

/** Anything at all: what a plugin exports, shown and read as such elsewhere. */
export const anything: Check<unknown> = (value) => value;

/** A record with these fields. What else it holds is ignored. */
export function openFields<R>(shape: Shape<R>): Check<R> {
  return recordOf(shape, true);
}

/** A record with just these fields. */
export function fields<R>(shape: Shape<R>): Check<R> {
  return recordOf(shape, false);
}

function recordOf<R>(shape: Shape<R>, isOpen: boolean): Check<R> {
  const names = Object.keys(shape) as (keyof R & string)[];
  return (value, field) => {
    const given = plainObject(value, field);
    const checked = {} as R;
    let absences = 0;
    for (const name of names) {
      if (Object.hasOwn(given, name)) checked[name] = shape[name](given[name], `${field}.${name}`);
      else if (absent in shape[name]) absences++;
      else throw wrong(`${field}.${name}`, "is missing");
    }
    if (!isOpen && Object.keys(given).length !== names.length - absences) {
      throw wrong(field, `has fields besides ${names.join(", ")}`);
    }
    return checked;
  };
}

function plainObject(value: unknown, field: string): Record<string, unknown> {
  const isPlain = typeof value === "object" && value !== null &&
    Object.getPrototypeOf(value) === Object.prototype;
  if (!isPlain) throw wrong(field, "is no map");
  return value as Record<string, unknown>;
}

function wrong(field: string, what: string): FrameError {
  return new FrameError(`Cannot accept this message: ${field} ${what}`);
}
