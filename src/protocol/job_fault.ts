import { Buffer } from "node:buffer";
import { bignumBytesMax, cborDepthMax, jobBytesMax } from "../lib/limits.ts";
import { isExactDate } from "./cbor_shapes.ts";

/** A place in a job that would not arrive unchanged, and why. */
type Fault = Readonly<{
  path: string;
  reason: string;
  /**
   * For a data fault, which costs only this job: the kind of fault, without this job's numbers. Null for a program
   * fault: the plugin yields something that is not data, probably every time.
   */
  dataFault: string | null;
  /** What kind of object holds the data, if that tells what to yield instead. */
  source?: DataSource | undefined;
}>;

/**
 * A promise; a query that runs when awaited; an async or sync iterable; memory that is not a Uint8Array; a class
 * instance with fields; any other instance.
 */
type DataSource = "promise" | "query" | "stream" | "iterator" | "memory" | "record" | "instance";

/** The fault of a job whose parts are fine but too many, found before all of it is encoded. */
export const overlong = `a value of more than ${jobBytesMax} bytes encoded`;

/** The limit, for a single part that alone exceeds it. */
const overAlone = `where a whole job may have ${jobBytesMax} bytes encoded`;

/** The fault of a job that is too long. */
export function tooLong(path: string, reason: string): Fault {
  return { path, reason, dataFault: overlong };
}

/** With the flag `u`, surrogate pairs are one character and do not match. */
const loneSurrogate = /\p{Surrogate}/u;

/**
 * Finds what would not arrive unchanged in a job: the first program fault, otherwise the first data fault; undefined if
 * there is none. Stops once the parts so far are too long for a job, because a value that repeats the same object many
 * times takes little memory but would be walked endlessly. Never throws, whatever getters and proxies the job has.
 */
export function findFault(job: unknown): Fault | undefined {
  const walk = new Walk();
  try {
    return walk.faultIn(job, "$", []) ?? walk.inData;
  } catch (error) {
    if (error instanceof Enough) return walk.inData;
    return { path: walk.at, reason: `a value that cannot be read: ${messageOf(error)}`, dataFault: null };
  }
}

/** Ends the walk early: the job is too long anyway. */
class Enough extends Error {}

class Walk {
  /** The first data fault. */
  inData: Fault | undefined = undefined;
  /** Path of what is being read, in case a getter or proxy trap throws. */
  at = "$";
  /** Bytes that the rest may have. Each part takes at least one byte, plus one for each character. */
  #bytesLeft = jobBytesMax;

  /** Returns the first program fault. */
  faultIn(value: unknown, path: string, around: readonly object[]): Fault | undefined {
    this.at = path;
    switch (typeof value) {
      case "function":
        return ofProgram(path, "a function");
      case "symbol":
        return ofProgram(path, "a symbol");
      case "string":
        return this.#inText(value, path);
      case "bigint":
        return bigintBytes(value) > bignumBytesMax
          ? this.#note(path, `a bigint of more than ${bignumBytesMax} bytes`)
          : this.#spend(1);
      case "object":
        return value === null ? this.#spend(1) : this.#inObject(value, path, around);
    }
    return this.#spend(1);
  }

  #note(path: string, reason: string, dataFault = reason): undefined {
    this.inData ??= { path, reason, dataFault };
  }

  #spend(bytes: number): undefined {
    if ((this.#bytesLeft -= bytes) >= 0) return;
    this.#note("$", overlong);
    throw new Enough();
  }

  #inText(text: string, path: string): Fault | undefined {
    if (text.length > jobBytesMax) {
      return this.#note(path, `a string of ${text.length} characters, ${overAlone}`, overlong);
    }
    if (loneSurrogate.test(text)) return this.#note(path, "a string with half a surrogate pair");
    return this.#spend(Math.max(1, text.length));
  }

  #inBytes(bytes: Uint8Array, path: string): Fault | undefined {
    if (!isBytes(Object.getPrototypeOf(bytes))) {
      return { ...ofProgram(path, classOf(bytes)), source: "memory" };
    }
    if (bytes.length > jobBytesMax) return this.#note(path, `${bytes.length} bytes, ${overAlone}`, overlong);
    return this.#spend(bytes.length);
  }

  #inObject(value: object, path: string, around: readonly object[]): Fault | undefined {
    if (around.includes(value)) return ofProgram(path, "a cycle");
    if (value instanceof Uint8Array) return this.#inBytes(value, path);
    const inside = [...around, value];
    const prototype = Object.getPrototypeOf(value);
    if (prototype === Date.prototype) {
      return isExactDate(value as Date)
        ? this.#spend(1)
        : this.#note(path, "a Date too far from 1970 to keep its milliseconds");
    }
    const isPlain = prototype === Object.prototype || prototype === null;
    const isCollection = Array.isArray(value) || prototype === Map.prototype || prototype === Set.prototype;
    if (!isPlain && !isCollection || isPlain && isThenable(value)) {
      return { ...ofProgram(path, classOf(value)), source: sourceOf(value) };
    }
    if (inside.length > cborDepthMax) {
      return this.#note(path, `nesting of more than ${cborDepthMax} levels`);
    }
    return this.#spend(1) ?? this.#inParts(value, path, inside);
  }

  #inParts(value: object, path: string, inside: readonly object[]): Fault | undefined {
    // By index, not by `entries`, which a subclass may override: encoding uses indices too.
    if (Array.isArray(value)) {
      return this.#first(Array.prototype.entries.call(value), (key) => `${path}[${key}]`, inside);
    }
    const prototype = Object.getPrototypeOf(value);
    if (prototype === Map.prototype) return this.#inMap(value as Map<unknown, unknown>, path, inside);
    if (prototype === Set.prototype) {
      return this.#first((value as Set<unknown>).entries(), () => `${path}<member>`, inside);
    }
    return this.#inFields(value, path, inside);
  }

  #inMap(map: Map<unknown, unknown>, path: string, inside: readonly object[]): Fault | undefined {
    return this.#first([...map.keys()].entries(), () => `${path}<key>`, inside) ??
      this.#first(map.entries(), (key) => `${path}.get(${shown(key)})`, inside);
  }

  #inFields(value: object, path: string, inside: readonly object[]): Fault | undefined {
    if (Object.hasOwn(value, "__proto__")) this.#note(path, "a property named __proto__");
    const symbol = Object.getOwnPropertySymbols(value).find((key) =>
      Object.prototype.propertyIsEnumerable.call(value, key)
    );
    if (symbol) return ofProgram(path, "a property named by a symbol");
    return this.#first(Object.keys(value).entries(), () => `${path}<key>`, inside) ??
      this.#first(this.#fields(value, path), (key) => `${path}${property(String(key))}`, inside);
  }

  /** Reads each field only when its turn comes. */
  *#fields(value: object, path: string): Generator<readonly [string, unknown]> {
    for (const key of Object.keys(value)) {
      this.at = `${path}${property(key)}`;
      yield [key, (value as Record<string, unknown>)[key]];
    }
  }

  #first(
    entries: Iterable<readonly [unknown, unknown]>,
    pathOf: (key: unknown) => string,
    inside: readonly object[],
  ): Fault | undefined {
    for (const [key, value] of entries) {
      // Most values are scalars: no path is built for those that are surely fine.
      const isScalar = typeof value === "number" || typeof value === "boolean" || value === null;
      const fault = isScalar ? this.#spend(1) : this.faultIn(value, pathOf(key), inside);
      if (fault) return fault;
    }
    return undefined;
  }
}

/** Bytes of the number's magnitude, as in its encoding. */
function bigintBytes(value: bigint): number {
  const magnitude = value < 0n ? -1n - value : value;
  return Math.ceil(magnitude.toString(16).length / 2);
}

function isBytes(prototype: unknown): boolean {
  return prototype === Uint8Array.prototype ||
    (typeof Buffer !== "undefined" && prototype === Buffer.prototype);
}

function property(key: string): string {
  return /^[A-Za-z_$][\w$]*$/.test(key) ? `.${key}` : `[${JSON.stringify(key)}]`;
}

function shown(key: unknown): string {
  return typeof key === "string" ? JSON.stringify(key) : typeof key === "object" ? "..." : String(key);
}

function ofProgram(path: string, reason: string): Fault {
  return { path, reason, dataFault: null };
}

function classOf(value: object): string {
  const name = (value as { constructor?: { name?: unknown } }).constructor?.name;
  if (Object.getPrototypeOf(value) === Object.prototype) return "an object with a method `then`";
  // made by `Object.create`, or a plain object of another realm (`node:vm`)
  if (name === "Object") return "an object with a prototype of its own";
  if (typeof name === "string" && name !== "") return `an instance of ${name}`;
  const tag = (value as { [Symbol.toStringTag]?: unknown })[Symbol.toStringTag];
  return typeof tag === "string" && tag !== "" ? `an instance of ${tag}` : "an instance of a class";
}

function sourceOf(value: object): DataSource {
  if (Object.getPrototypeOf(value) === Promise.prototype) return "promise";
  if (isThenable(value) || isMethod(value, "execute") || isMethod(value, "toSQL")) return "query";
  const { [Symbol.asyncIterator]: iterateLater, [Symbol.iterator]: iterate } = value as Record<
    symbol,
    unknown
  >;
  if (typeof iterateLater === "function") return "stream";
  if (typeof iterate === "function" && isMethod(value, "next")) return "iterator";
  if (ArrayBuffer.isView(value) || isBuffer(value)) return "memory";
  return Object.keys(value).length > 0 ? "record" : "instance";
}

function isBuffer(value: object): boolean {
  return value instanceof ArrayBuffer ||
    (typeof SharedArrayBuffer !== "undefined" && value instanceof SharedArrayBuffer);
}

/** The message of anything that was thrown. */
function messageOf(error: unknown): string {
  try {
    return error instanceof Error ? error.message : `${String(error)} was thrown`;
  } catch {
    return "it threw";
  }
}

function isThenable(value: object): boolean {
  return isMethod(value, "then");
}

function isMethod(value: object, name: string): boolean {
  return typeof (value as Record<string, unknown>)[name] === "function";
}

/**
 * A yielded value that would not arrive unchanged. The message names the place in the job and the reason; the caller
 * adds the job's number.
 */
export class JobValueError extends TypeError {
  /** The place in the job, such as `$.user.tags[3]`. */
  readonly path: string;
  /** What is wrong there, in words. */
  readonly reason: string;
  /** See `Fault`. */
  readonly dataFault: string | null;
  /** See `Fault`. */
  readonly source: DataSource | undefined;

  constructor(fault: Fault) {
    super(`Cannot send this job: at ${fault.path} there is ${fault.reason}`);
    this.path = fault.path;
    this.reason = fault.reason;
    this.dataFault = fault.dataFault;
    this.source = fault.source;
  }

  override get name(): string {
    return "JobValueError";
  }
}
