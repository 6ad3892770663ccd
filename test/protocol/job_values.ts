import fc from "fast-check";

const key = fc.oneof(
  fc.string(),
  fc.string({ unit: "grapheme" }),
  fc.constantFrom("constructor", "length", "7", ""),
)
  .filter((text) => text !== "__proto__");

/** Any value that may be a job. */
export const jobValue: fc.Arbitrary<unknown> = fc.letrec((tie) => ({
  scalar: fc.oneof(
    fc.constantFrom(null, undefined, true, false, NaN, Infinity, -Infinity, 0, ""),
    fc.integer(),
    fc.maxSafeInteger(),
    fc.double(),
    fc.bigInt(),
    fc.bigInt({ min: -(2n ** 70n), max: 2n ** 70n }),
    fc.string({ unit: "grapheme" }),
    fc.string({ unit: "binary", maxLength: 90 }),
    fc.string({ minLength: 60, maxLength: 70 }).map((text) => "\ufeff" + text),
    fc.uint8Array(),
    fc.date({ min: new Date(-2e15), max: new Date(2e15), noInvalidDate: false }),
  ),
  value: fc.oneof(
    { maxDepth: 5, depthIdentifier: "value" },
    tie("scalar"),
    fc.array(tie("value"), { maxLength: 5, depthIdentifier: "value" }),
    fc.dictionary(key, tie("value"), { maxKeys: 5, depthIdentifier: "value" }),
    fc.array(fc.tuple(tie("value"), tie("value")), { maxLength: 4, depthIdentifier: "value" }).map((
      entries,
    ) => new Map(entries)),
    fc.array(tie("value"), { maxLength: 4, depthIdentifier: "value" }).map((members) => new Set(members)),
  ),
})).value;

/** Equal as the specification counts it: -0 is 0; an object without prototype is plain. */
export function sameValue(a: unknown, b: unknown): boolean {
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) {
    return a === b || Object.is(a, b);
  }
  if (kindOf(a) !== kindOf(b)) return false;
  if (a instanceof Date) return Object.is(a.getTime(), (b as Date).getTime());
  if (a instanceof Map) return sameList([...a].flat(1), [...(b as Map<unknown, unknown>)].flat(1));
  if (a instanceof Set) return sameList([...a], [...(b as Set<unknown>)]);
  if (a instanceof Uint8Array || Array.isArray(a)) return sameList(a as unknown[], b as unknown[]);
  return sameList(Object.entries(a).flat(1), Object.entries(b).flat(1));
}

/** The prototype; that of plain objects for those without. */
function kindOf(value: object): unknown {
  return Object.getPrototypeOf(value) ?? Object.prototype;
}

function sameList(a: ArrayLike<unknown>, b: ArrayLike<unknown>): boolean {
  if (a.length !== b.length) return false;
  for (let index = 0; index < a.length; index++) if (!sameValue(a[index], b[index])) return false;
  return true;
}
