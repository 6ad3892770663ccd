import { type ChaosCheck, chaosProblems } from "./mutant.ts";
import type { PatchedCopy } from "./patched_copy.ts";
import type { Verdict } from "./verdict.ts";

/** What a scenario may take beyond its faults: until all have joined, until it is given up, until all have ended. */
const beyondMsMax = 240_000;

/**
 * Plays a chaos scenario with the binary of a copy.
 *
 * @throws {Error} if it neither held nor failed by a problem of the expected sort.
 */
export async function runChaos(copy: PatchedCopy, check: ChaosCheck): Promise<Verdict> {
  const { scenario, seed, seconds } = check;
  await copy.compile();
  const { code, output } = await copy.run(
    ["bun", "test/chaos/main.ts", scenario, "--seed", String(seed), "--seconds", String(seconds)],
    seconds * 1_000 + beyondMsMax,
  );
  return chaosVerdict(check, code, output);
}

export function chaosVerdict(
  { scenario, seed, problem }: ChaosCheck,
  code: number | null,
  output: string,
): Verdict {
  const lines = output.split("\n");
  // one that was skipped has a row as well, without a time
  const held = lines.some((line) => line.startsWith(`| ${scenario} | ${seed} | `) && / \d+ s \|$/.test(line));
  if (code === 0 && held) return { failed: null, output };
  const found = problemsIn(lines, scenario).find((sentence) => chaosProblems[problem].test(sentence));
  if (code === 1 && found !== undefined) return { failed: found, output };
  throw new Error(
    `${scenario} ended with ${code}, and said of nothing that it was ${problem}:\n${output.slice(-4_000)}`,
  );
}

/** The list between the two headings that `test/chaos/main.ts` prints. */
function problemsIn(lines: readonly string[], scenario: string): string[] {
  const begin = lines.indexOf(`${scenario} failed:`);
  const end = lines.indexOf("  The plan was:", begin);
  if (begin < 0 || end < 0) return [];
  return lines.slice(begin, end).filter((line) => line.startsWith("  - ")).map((line) => line.slice(4));
}
