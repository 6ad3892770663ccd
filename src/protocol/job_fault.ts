import { Buffer } from "node:buffer";
import { bignumBytesMax, cborDepthMax } from "../base/limits.ts";
import { isExactDate } from "./exact_date.ts";

/** A place in a job that would not arrive as it was sent, and why. */
export type Fault = Readonly<{ path: string; reason: string }>;

/** With the flag `u`, pairs are one character and do not match. */
const loneSurrogate = /\p{Surrogate}/u;

/**
 * Walks a job to the first part that would not arrive as it was sent; undefined if there is none. Never throws,
 * whatever getters and proxies the job holds.
 */
export function findFault(job: unknown): Fault | undefined {
  try {
    return faultIn(job, "$", []);
  } catch (error) {
    return {
      path: "$",
      reason: `a value that cannot be read: ${error instanceof Error ? error.message : "it threw"}`,
    };
  }
}

function faultIn(value: unknown, path: string, around: readonly object[]): Fault | undefined {
  switch (typeof value) {
    case "function":
      return { path, reason: "a function" };
    case "symbol":
      return { path, reason: "a symbol" };
    case "string":
      return faultInText(value, path);
    case "bigint":
      return bigintBytes(value) > bignumBytesMax
        ? { path, reason: `a bigint of more than ${bignumBytesMax} bytes` }
        : undefined;
    case "object":
      return value === null ? undefined : faultInObject(value, path, around);
  }
  return undefined;
}

function faultInText(text: string, path: string): Fault | undefined {
  return loneSurrogate.test(text) ? { path, reason: "a string with half a surrogate pair" } : undefined;
}

/** Bytes of the number's magnitude, as many as its encoding has. */
function bigintBytes(value: bigint): number {
  const magnitude = value < 0n ? -1n - value : value;
  return Math.ceil(magnitude.toString(16).length / 2);
}

function faultInObject(value: object, path: string, around: readonly object[]): Fault | undefined {
  if (around.includes(value)) return { path, reason: "a cycle" };
  const inside = [...around, value];
  const prototype = Object.getPrototypeOf(value);
  if (value instanceof Uint8Array) return isBytes(prototype) ? undefined : { path, reason: instance(value) };
  if (prototype === Date.prototype) {
    return isExactDate(value as Date)
      ? undefined
      : { path, reason: "a Date too far from 1970 to keep its milliseconds" };
  }
  const isPlain = prototype === Object.prototype || prototype === null;
  const isCollection = prototype === Array.prototype || prototype === Map.prototype ||
    prototype === Set.prototype;
  if (!isPlain && !isCollection) return { path, reason: instance(value) };
  if (inside.length > cborDepthMax) return { path, reason: `nesting of more than ${cborDepthMax} levels` };
  if (Array.isArray(value)) return firstFault(value.entries(), (key) => `${path}[${key}]`, inside);
  if (prototype === Map.prototype) return faultInMap(value as Map<unknown, unknown>, path, inside);
  if (prototype === Set.prototype) {
    return firstFault((value as Set<unknown>).entries(), () => `${path}<member>`, inside);
  }
  return faultInFields(value, path, inside);
}

function isBytes(prototype: unknown): boolean {
  return prototype === Uint8Array.prototype ||
    (typeof Buffer !== "undefined" && prototype === Buffer.prototype);
}

function faultInMap(map: Map<unknown, unknown>, path: string, inside: readonly object[]): Fault | undefined {
  return firstFault([...map.keys()].entries(), () => `${path}<key>`, inside) ??
    firstFault(map.entries(), (key) => `${path}.get(${shown(key)})`, inside);
}

function faultInFields(value: object, path: string, inside: readonly object[]): Fault | undefined {
  if (Object.hasOwn(value, "__proto__")) return { path, reason: "a property named __proto__" };
  const symbol = Object.getOwnPropertySymbols(value).find((key) =>
    Object.prototype.propertyIsEnumerable.call(value, key)
  );
  if (symbol) return { path, reason: "a property named by a symbol" };
  const keyFault = firstFault(Object.keys(value).entries(), () => `${path}<key>`, inside);
  return keyFault ?? firstFault(Object.entries(value), (key) => `${path}${property(String(key))}`, inside);
}

function firstFault(
  entries: Iterable<readonly [unknown, unknown]>,
  pathOf: (key: unknown) => string,
  inside: readonly object[],
): Fault | undefined {
  for (const [key, value] of entries) {
    // Scalars are most of what there is: no path is made for those that are surely fine.
    if (typeof value === "number" || typeof value === "boolean" || value === null) continue;
    const fault = faultIn(value, pathOf(key), inside);
    if (fault) return fault;
  }
  return undefined;
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
