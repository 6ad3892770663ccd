import { Buffer } from "node:buffer";
import { bignumBytesMax, cborDepthMax, jobBytesMax } from "../base/limits.ts";
import { isExactDate } from "./exact_date.ts";

/** A place in a job that would not arrive as it was sent, and why. */
export type Fault = Readonly<{ path: string; reason: string }>;

/** What is wrong with a job whose parts are fine, but too many to write them all only to count them. */
export const overlong = `a value of more than ${jobBytesMax} bytes encoded`;

/** What is wrong with one part. */
const overAlone = `where a whole job may have ${jobBytesMax} bytes encoded`;

/** With the flag `u`, pairs are one character and do not match. */
const loneSurrogate = /\p{Surrogate}/u;

/**
 * Walks a job to the first part that would not arrive as it was sent; undefined if there is none. It ends where the
 * parts so far are too long for a job: those that occur again and again are nothing in memory, and endless to walk.
 * Never throws, whatever getters and proxies the job holds.
 */
export function findFault(job: unknown): Fault | undefined {
  try {
    return new Walk().faultIn(job, "$", []);
  } catch (error) {
    return {
      path: "$",
      reason: `a value that cannot be read: ${error instanceof Error ? error.message : "it threw"}`,
    };
  }
}

class Walk {
  /** What the parts to come may take; each takes at least a byte, and one for each of its characters. */
  #bytesLeft = jobBytesMax;

  faultIn(value: unknown, path: string, around: readonly object[]): Fault | undefined {
    switch (typeof value) {
      case "function":
        return { path, reason: "a function" };
      case "symbol":
        return { path, reason: "a symbol" };
      case "string":
        return this.#inText(value, path);
      case "bigint":
        return bigintBytes(value) > bignumBytesMax
          ? { path, reason: `a bigint of more than ${bignumBytesMax} bytes` }
          : this.#spend(1);
      case "object":
        return value === null ? this.#spend(1) : this.#inObject(value, path, around);
    }
    return this.#spend(1);
  }

  #spend(bytes: number): Fault | undefined {
    return (this.#bytesLeft -= bytes) < 0 ? { path: "$", reason: overlong } : undefined;
  }

  #inText(text: string, path: string): Fault | undefined {
    if (text.length > jobBytesMax) {
      return { path, reason: `a string of ${text.length} characters, ${overAlone}` };
    }
    if (loneSurrogate.test(text)) return { path, reason: "a string with half a surrogate pair" };
    return this.#spend(Math.max(1, text.length));
  }

  #inBytes(bytes: Uint8Array, path: string): Fault | undefined {
    if (!isBytes(Object.getPrototypeOf(bytes))) return { path, reason: instance(bytes) };
    if (bytes.length > jobBytesMax) return { path, reason: `${bytes.length} bytes, ${overAlone}` };
    return this.#spend(bytes.length);
  }

  #inObject(value: object, path: string, around: readonly object[]): Fault | undefined {
    if (around.includes(value)) return { path, reason: "a cycle" };
    if (value instanceof Uint8Array) return this.#inBytes(value, path);
    const inside = [...around, value];
    const prototype = Object.getPrototypeOf(value);
    if (prototype === Date.prototype) {
      return isExactDate(value as Date)
        ? this.#spend(1)
        : { path, reason: "a Date too far from 1970 to keep its milliseconds" };
    }
    const isPlain = prototype === Object.prototype || prototype === null;
    const isCollection = prototype === Array.prototype || prototype === Map.prototype ||
      prototype === Set.prototype;
    if (!isPlain && !isCollection) return { path, reason: instance(value) };
    if (inside.length > cborDepthMax) return { path, reason: `nesting of more than ${cborDepthMax} levels` };
    return this.#spend(1) ?? this.#inParts(value, path, inside);
  }

  #inParts(value: object, path: string, inside: readonly object[]): Fault | undefined {
    if (Array.isArray(value)) return this.#first(value.entries(), (key) => `${path}[${key}]`, inside);
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
    if (Object.hasOwn(value, "__proto__")) return { path, reason: "a property named __proto__" };
    const symbol = Object.getOwnPropertySymbols(value).find((key) =>
      Object.prototype.propertyIsEnumerable.call(value, key)
    );
    if (symbol) return { path, reason: "a property named by a symbol" };
    return this.#first(Object.keys(value).entries(), () => `${path}<key>`, inside) ??
      this.#first(Object.entries(value), (key) => `${path}${property(String(key))}`, inside);
  }

  #first(
    entries: Iterable<readonly [unknown, unknown]>,
    pathOf: (key: unknown) => string,
    inside: readonly object[],
  ): Fault | undefined {
    for (const [key, value] of entries) {
      // Scalars are most of what there is: no path is made for those that are surely fine.
      const isScalar = typeof value === "number" || typeof value === "boolean" || value === null;
      const fault = isScalar ? this.#spend(1) : this.faultIn(value, pathOf(key), inside);
      if (fault) return fault;
    }
    return undefined;
  }
}

/** Bytes of the number's magnitude, as many as its encoding has. */
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

function instance(value: object): string {
  const name = (value as { constructor?: { name?: unknown } }).constructor?.name;
  return typeof name === "string" && name !== "" ? `an instance of ${name}` : "an instance of a class";
}
