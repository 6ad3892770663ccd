import { type Check, checkName, type Mutant } from "./mutant.ts";
import { PatchedCopy } from "./patched_copy.ts";
import { runCheck, runTests, type Verdict } from "./run_check.ts";

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
  const byFile = new Map<string, Map<string, Check>>();
  for (const check of checks) {
    const file = check.kind === "test" ? check.file : "";
    byFile.set(file, (byFile.get(file) ?? new Map()).set(checkName(check), check));
  }
  const failed: string[] = [];
  await eachOf([...byFile], atOnce, async ([file, byName]) => {
    const checks = [...byName.values()];
    const copy = new PatchedCopy([]);
    try {
      const verdicts = file === ""
        ? [await runCheck(copy, checks[0]!)]
        : await runTests(copy, file, checks.flatMap((check) => check.kind === "test" ? [check.name] : []));
      for (const [at, { failed: what, output }] of verdicts.entries()) {
        if (what !== null) failed.push(`${checkName(checks[at]!)}: ${what}\n${output.slice(-4_000)}`);
      }
    } catch (error) {
      failed.push(`${file}: ${asError(error).message}`);
    } finally {
      copy.end();
    }
  });
  return failed;
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
