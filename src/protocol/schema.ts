import type { Ranges } from "../lib/ranges.ts";
import { FrameError } from "./cbor.ts";

// Building blocks of the wire's schema. A check is written once; the type of what passes it is inferred.

/**
 * Converts a decoded value to what a field holds. `field` is the field's path, for error messages.
 *
 * @throws {FrameError} if the field may not hold the value.
 */
export type Check<T> = ((value: unknown, field: string) => T) & {
  /** Texts that repeat in each member of a list of such values: field names, and words of `oneOf`. */
  readonly words?: readonly string[];
};

/** The check of a field that may be missing. */
type OptionalCheck<T> = Check<T> & { readonly isOptional: true };

/** The checks of all fields of a record. */
export type Fields = Readonly<Record<string, Check<unknown>>>;

/** The messages of one sender: for each kind, the checks of its other fields. */
export type Messages = Readonly<Record<string, Fields>>;

/** What passes a check. */
export type TypeOf<C> = C extends (value: unknown, field: string) => infer T ? T : never;

/** The type of a record with these fields. The last step merges two types into one, which editors show in full. */
export type RecordOf<F extends Fields> =
  & { readonly [N in keyof F as F[N] extends OptionalCheck<unknown> ? never : N]: TypeOf<F[N]> }
  & {
    readonly [N in keyof F as F[N] extends OptionalCheck<unknown> ? N : never]?: TypeOf<F[N]> | undefined;
  } extends infer R ? { [N in keyof R]: R[N] } : never;

/** The union of these messages, discriminated by `kind`. */
export type MessageOf<M extends Messages> = {
  [K in keyof M & string]: RecordOf<{ kind: Check<K> } & M[K]>;
}[keyof M & string];

/** A whole number from `min` to `max`; 64-bit encodings arrive as bigint. */
export function whole(min: number, max: number): Check<number> {
  return (value, field) => {
    const number = typeof value === "bigint" ? Number(value) : value;
    if (typeof number !== "number" || !Number.isSafeInteger(number)) throw wrong(field, "is no whole number");
    if (number < min || number > max) throw wrong(field, `is ${number}, not within ${min} to ${max}`);
    return number;
  };
}

/** A number of milliseconds from 0, which may have a fraction. */
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

/** A byte string; with `length`, one of exactly that many bytes. */
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
  const check = (value: unknown, field: string): W => {
    if (!words.includes(value as W)) throw wrong(field, `is none of ${words.join(", ")}`);
    return value as W;
  };
  return Object.assign(check, { words });
}

export const boolean: Check<boolean> = (value, field) => {
  if (typeof value !== "boolean") throw wrong(field, "is neither true nor false");
  return value;
};

/** Half-open intervals of whole numbers as a flat list: ascending, not empty, not touching. */
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

/** A map of text keys, at most `entriesMax` of them, to what passes `check`. */
export function mapOf<T>(entriesMax: number, check: Check<T>): Check<Readonly<Record<string, T>>> {
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

/** Any value at all. */
export const anything: Check<unknown> = (value) => value;

/** True; anything else counts as missing. */
export const trueOrMissing: OptionalCheck<boolean | undefined> = optional((value) =>
  value === true || undefined
);

/** A field that may be missing. It also counts as missing if the check returns undefined. */
export function optional<T>(check: Check<T>): OptionalCheck<T> {
  const own: Check<T> = (value, field) => check(value, field);
  return Object.assign(own, { isOptional: true } as const);
}

/** A map with exactly these fields; if `isOpen`, other fields are ignored. */
export function record<const F extends Fields>(fields: F, isOpen = false): Check<RecordOf<F>> {
  const names = Object.keys(fields);
  const checks = Object.values(fields);
  const check = (value: unknown, field: string): RecordOf<F> => {
    const given = plainObject(value, field);
    const checked: Record<string, unknown> = {};
    let missing = 0;
    for (let index = 0; index < names.length; index++) {
      const name = names[index]!, check = checks[index]!;
      if (Object.hasOwn(given, name)) {
        const part = check(given[name], `${field}.${name}`);
        if (part !== undefined || !("isOptional" in check)) checked[name] = part;
      } else if ("isOptional" in check) missing++;
      else throw wrong(`${field}.${name}`, "is missing");
    }
    if (!isOpen && Object.keys(given).length !== names.length - missing) {
      throw wrong(field, `has fields besides ${names.join(", ")}`);
    }
    return checked as RecordOf<F>;
  };
  return Object.assign(check, { words: [...names, ...checks.flatMap(({ words = [] }) => words)] });
}

/** One of these messages: `kind` decides which fields it must have. */
export function messageOf<const M extends Messages>(messages: M): Check<MessageOf<M>> {
  const checks = new Map<unknown, Check<unknown>>();
  for (const [kind, fields] of Object.entries(messages)) {
    checks.set(kind, record({ kind: () => kind, ...fields }));
  }
  return (value) => {
    const kind = typeof value === "object" && value !== null ? (value as { kind?: unknown }).kind : undefined;
    const check = checks.get(kind);
    if (check !== undefined) return check(value, kind as string) as MessageOf<M>;
    throw new FrameError(`Cannot accept this message: its kind is none of ${[...checks.keys()].join(", ")}`);
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
