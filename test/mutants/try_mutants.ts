import { type Check, checkName, type Mutant } from "./mutant.ts";
import { PatchedCopy } from "./patched_copy.ts";
import { runCheck } from "./run_check.ts";
import { runTests } from "./run_tests.ts";
import type { Verdict } from "./verdict.ts";

/** What came of one check of a mutant; `verdict` is an error if it could not be run. */
export type Trial = Readonly<{ check: Check; verdict: Verdict | Error; seconds: number }>;

/** Runs checks of one mutant in a copy of its own. */
export async function tryMutant({ patches }: Mutant, checks: readonly Check[]): Promise<Trial[]> {
  const copy = new PatchedCopy(patches);
  try {
    const trials: Trial[] = [];
    for (const check of checks) {
      const beganMs = performance.now();
      const verdict = await runCheck(copy, check).catch(asError);
      trials.push({ check, verdict, seconds: (performance.now() - beganMs) / 1_000 });
    }
    return trials;
  } finally {
    copy.end();
  }
}

/** Runs each of these checks in a copy without patches; returns what failed of those. */
export async function tryUnchanged(checks: readonly Check[], atOnce: number): Promise<string[]> {
  /** Tests of one file run together; those of a kind share a copy, and so a binary. */
  const groups = new Map<string, Map<string, Check>>();
  for (const check of checks) {
    const group = check.kind === "test" ? check.file : check.kind;
    groups.set(group, (groups.get(group) ?? new Map()).set(checkName(check), check));
  }
  const failed: string[] = [];
  await eachOf([...groups], atOnce, async ([group, byName]) => {
    const copy = new PatchedCopy([]);
    try {
      for await (const [check, verdict] of verdictsOn(copy, [...byName.values()])) {
        if (verdict.failed === null) continue;
        failed.push(`${checkName(check)}: ${verdict.failed}\n${verdict.output.slice(-4_000)}`);
      }
    } catch (error) {
      failed.push(`${group}: ${asError(error).message}`);
    } finally {
      copy.end();
    }
  });
  return failed;
}

async function* verdictsOn(copy: PatchedCopy, group: readonly Check[]): AsyncGenerator<[Check, Verdict]> {
  const tests = group.filter((check) => check.kind === "test");
  if (tests.length > 0) {
    const verdicts = await runTests(copy, tests[0]!.file, tests);
    for (const [at, verdict] of verdicts.entries()) yield [tests[at]!, verdict];
  } else {
    for (const check of group) yield [check, await runCheck(copy, check)];
  }
}

/** Does this with each item, so many at a time, in their order. */
export async function eachOf<T>(
  items: readonly T[],
  atOnce: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const waiting = items.values();
  await Promise.all(Array.from({ length: atOnce }, async () => {
    for (const item of waiting) await work(item);
  }));
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
