import fc from "fast-check";
import type { Test } from "tap";

/** Asserts that a property holds for values made at random, 100 or `numRuns`; else shows the smallest that it does not. */
export function holds<T>(t: Test, property: fc.IProperty<T>, options: { numRuns?: number } = {}): void {
  const details = fc.check(property, options);
  t.equal(
    details.failed ? fc.defaultReportMessage(details) : null,
    null,
    `it holds for ${details.numRuns} values`,
  );
}
