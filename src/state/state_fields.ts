import type { Attempt, History, OperatorSettings, RunState, Stranded } from "../core/types.ts";
import { FrameError, prescan } from "../protocol/cbor.ts";
import { type Identity, sortedArgs } from "./identity.ts";

// The fields of a state, each with how it is written, and how it is checked as it is read. A field without its row does
// not compile. docs/state-file.md says how the format is changed.

/** The versions of the body. This program reads all of them, and writes the last. */
const versions = [1, 2] as const;
type Version = (typeof versions)[number];
export const stateVersion: number = versions.at(-1)!;

/** Most settings of an operator, and the longest text of one: a few words each, not data. */
const settingsMax = 256;
const settingTextCharsMax = 1_000;

/** A state file is not what it should be; says where. Becomes a warning or a `StateError`, never leaves this folder. */
export class DamageError extends Error {
  override get name(): string {
    return "DamageError";
  }
}

/** How a value stands in the file, both ways. */
type Codec<T> = Readonly<{
  write: (value: T) => unknown;
  /** `name` says where it stands, for the message. @throws {DamageError} */
  read: (value: unknown, name: string) => T;
}>;

/** A field of the head. `added`: the version that brought it in this form, and what a file of an earlier one means. */
type Field<T> = Codec<T> & Readonly<{ added?: Readonly<{ version: number; before: T }> }>;

/** A row for each field, in the order in which they are written. */
export type Fields<T> = { readonly [Name in keyof T]-?: Field<T[Name]> };

function since<T>(version: Version, codec: Codec<T>, before: T): Field<T> {
  return { ...codec, added: { version, before } };
}

const plain = (value: unknown): unknown => value;

export const count: Codec<number> = {
  write: plain,
  read(value, name) {
    // CBOR integers beyond 32 bits may decode as bigints.
    const number = typeof value === "bigint" ? Number(value) : value;
    if (Number.isSafeInteger(number) && (number as number) >= 0) return number as number;
    throw new DamageError(`${name} is no count`);
  },
};

const ms: Codec<number> = {
  write: plain,
  read(value, name) {
    if (typeof value === "number" && Number.isFinite(value) && value >= 0) return value;
    throw new DamageError(`${name} is no duration`);
  },
};

const text: Codec<string> = {
  write: plain,
  read(value, name) {
    if (typeof value === "string") return value;
    throw new DamageError(`${name} is no text`);
  },
};

const flag: Codec<boolean> = {
  write: plain,
  read(value, name) {
    if (typeof value === "boolean") return value;
    throw new DamageError(`${name} is neither true nor false`);
  },
};

export const bytes: Codec<Uint8Array> = {
  write: plain,
  read(value, name) {
    if (value instanceof Uint8Array) return value;
    throw new DamageError(`${name} is no byte string`);
  },
};

const hash: Codec<Uint8Array> = {
  write: plain,
  read(value, name) {
    const hash = bytes.read(value, name);
    if (hash.length === 32) return hash;
    throw new DamageError(`${name} is no SHA-256`);
  },
};

/** Bytes of one acceptable CBOR item. */
const item: Codec<Uint8Array> = {
  write: plain,
  read(value, name) {
    const item = bytes.read(value, name);
    scan(item, name);
    return item;
  },
};

export function asList(value: unknown, name: string, length?: number): readonly unknown[] {
  if (Array.isArray(value) && (length === undefined || value.length === length)) return value;
  throw new DamageError(`${name} is no list${length === undefined ? "" : ` of ${length}`}`);
}

export function asMap(value: unknown, name: string): Readonly<Record<string, unknown>> {
  if (typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype) {
    return value as Record<string, unknown>;
  }
  throw new DamageError(`${name} is no map`);
}

export function scan(bytes: Uint8Array, name: string, more?: () => void): void {
  try {
    prescan(bytes, { itemsMax: Infinity });
    more?.();
  } catch (error) {
    if (error instanceof FrameError) throw new DamageError(`${name} is damaged: ${error.message}`);
    throw error;
  }
}

/** The same, under a name of its own in messages. */
function named<T>(name: string, { write, read }: Codec<T>): Codec<T> {
  return { write, read: (value) => read(value, name) };
}

function orNull<T>({ write, read }: Codec<T>): Codec<T | null> {
  return {
    write: (value) => value === null ? null : write(value),
    read: (value, name) => value === null ? null : read(value, name),
  };
}

function listOf<T>(name: string, { write, read }: Codec<T>): Codec<readonly T[]> {
  return {
    write: (values) => values.map(write),
    read: (value, where) => asList(value, where).map((item) => read(item, name)),
  };
}

/** A list of the fields' values, in the order of their rows. */
function tuple<T>(rows: { readonly [Name in keyof T]-?: Codec<T[Name]> }): Codec<T> {
  const names = Object.keys(rows) as (keyof T & string)[];
  const codecs = names.map((name) => rows[name]);
  const size = names.length;
  return {
    write(value) {
      const list: unknown[] = [];
      for (let at = 0; at < size; at++) {
        const field = value[names[at]!];
        const { write } = codecs[at]!;
        list.push(write === plain ? field : write(field));
      }
      return list;
    },
    read(value, name) {
      const list = asList(value, name, size);
      const fields: Partial<T> = {};
      for (let at = 0; at < size; at++) fields[names[at]!] = codecs[at]!.read(list[at], names[at]!);
      return fields as T;
    },
  };
}

/** Pairs, not a map: a name may be anything, `__proto__` too. */
const args: Codec<Identity["args"]> = {
  write: sortedArgs,
  read: (value, name) =>
    Object.fromEntries(
      asList(value, name).map((pair) => {
        const [word, meaning] = asList(pair, name, 2);
        return [text.read(word, name), text.read(meaning, name)];
      }),
    ),
};

const settingName = /^[A-Za-z][A-Za-z0-9._:-]{0,63}$/;

/** Whatever the names are: what a version knows that set them is not known here. */
const settings: Codec<OperatorSettings> = {
  // Names begin with a letter, so they stay in this order.
  write: (settings) => Object.fromEntries([...settings].sort(([a], [b]) => a < b ? -1 : 1)),
  read(value, name) {
    const settings = Object.entries(asMap(value, name));
    if (settings.length > settingsMax) throw new DamageError(`there are ${settings.length} settings`);
    return new Map(settings.map(([name, value]) => {
      if (settingName.test(name) && isScalar(value)) return [name, value];
      throw new DamageError(`a setting is none`);
    }));
  },
};

function isScalar(value: unknown): value is boolean | number | string | null {
  if (typeof value === "string") return value.length <= settingTextCharsMax;
  return value === null || typeof value === "boolean" || Number.isFinite(value);
}

/** Of version 1 the hash was that of the plugin's file alone, and says nothing about the code as it is hashed now. */
const unknownHash = new Uint8Array(0);

/** What the head says of whose state it is. */
export const identityFields: Fields<Identity> = {
  runId: text,
  plugin: text,
  exportName: text,
  args,
  pluginHash: since(2, bytes, unknownHash),
};

/** What the head says of the run. Version 1 did not note whether a master died: its `repeated` may be too low. */
export const runFields: Fields<Omit<RunState, "stranded">> = {
  handedOut: count,
  handedOutAgain: since(2, count, 0),
  againToCome: since(2, count, 0),
  done: count,
  skipped: count,
  dead: count,
  repeated: count,
  repeatedAtLeast: since(2, flag, true),
  last: orNull(tuple({
    cursor: named("the cursor of last", item),
    jobHash: named("the job hash of last", hash),
  })),
  firstJobHash: orNull(hash),
  complete: flag,
  final: since(2, flag, true),
  settings: since<OperatorSettings>(2, settings, new Map()),
};

const endings: readonly string[] = ["threw", "timed out", "crashed", "fatal"] satisfies Attempt["how"][];

const attempt = tuple<Attempt>({
  how: {
    write: plain,
    read(value) {
      if (endings.includes(value as string)) return value as Attempt["how"];
      throw new DamageError("an attempt ended in an unknown way");
    },
  },
  message: named("a message", text),
  stack: named("a stack", text),
  slave: named("a slave", text),
  durationMs: named("a duration", ms),
  at: named("a time", text),
});

const touched = tuple<History>({
  failures: count,
  crashes: count,
  crashesInCompany: count,
  lostSessions: count,
  attempts: listOf("an attempt", attempt),
});

const untouched: History = { failures: 0, crashes: 0, crashesInCompany: 0, lostSessions: 0, attempts: [] };

/** Most jobs have no history yet: null. */
const history: Codec<History> = {
  write: (history) => {
    const { failures, crashes, crashesInCompany, lostSessions, attempts } = history;
    const isUntouched = failures + crashes + crashesInCompany + lostSessions + attempts.length === 0;
    return isUntouched ? null : touched.write(history);
  },
  read: (value, name) => value === null ? untouched : touched.read(value, name),
};

type Lease = NonNullable<Stranded["lease"]>;

const flatLease = tuple<Lease["name"] & Pick<Lease, "slaveId">>({
  masterId: named("a master id", text),
  number: named("a lease number", count),
  slaveId: named("a slave id", text),
});

const lease: Codec<Lease> = {
  write: ({ name: { masterId, number }, slaveId }) => flatLease.write({ masterId, number, slaveId }),
  read: (value, name) => {
    const { masterId, number, slaveId } = flatLease.read(value, name);
    return { name: { masterId, number }, slaveId };
  },
};

/** A span of stranded jobs, but for their bytes. */
export const span = tuple<Omit<Stranded, "span"> & Readonly<{ seq: number; count: number }>>({
  seq: named("the seq of a span", count),
  count: named("the count of a span", count),
  lease: named("a lease", orNull(lease)),
  history: named("a history", history),
});

/** The fields of the head that `value` has rows for. */
export function writeFields<T>(fields: Fields<T>, value: T): Record<string, unknown> {
  return Object.fromEntries(rowsOf(fields).map(([name, { write }]) => [name, write(value[name])]));
}

/**
 * Reads a head of this version.
 *
 * @throws {DamageError} naming the first field that is wrong.
 */
export function readFields<T>(
  fields: Fields<T>,
  head: Readonly<Record<string, unknown>>,
  version: number,
): T {
  return Object.fromEntries(
    rowsOf(fields).map(([name, { added, read }]) => {
      const isLater = added !== undefined && version < added.version;
      return [name, isLater ? added.before : read(head[String(name)], String(name))];
    }),
  ) as T;
}

function rowsOf<T>(fields: Fields<T>): [keyof T, Field<T[keyof T]>][] {
  return Object.entries(fields) as [keyof T, Field<T[keyof T]>][];
}
