import { type Check, needsBinary } from "./mutant.ts";
import type { PatchedCopy } from "./patched_copy.ts";
import { type Ended, runProgram } from "./run_program.ts";

/** `failed` is the first assertion that failed, null if all held; `output` is for who wonders why. */
export type Verdict = Readonly<{ failed: string | null; output: string }>;

/** A test that runs for so long has failed: one that waits for what a mutant never does fails by its name. */
const testSecondsMax = { quick: 30, endToEnd: 90 };
const simulationMsMax = 60_000;
/** What a run may take beyond that. */
const startMsMax = 60_000;

/**
 * Runs a check in a copy.
 *
 * @throws {Error} if it neither held nor failed by its own judgement: a patch that merely does not run proves nothing.
 */
export async function runCheck(copy: PatchedCopy, check: Check): Promise<Verdict> {
  if (check.kind === "simulation") return await simulate(copy, check.seeds);
  return (await runTests(copy, check.file, [check.name]))[0]!;
}

/** Runs tests of one file by their names, and returns their verdicts in that order. */
export async function runTests(
  copy: PatchedCopy,
  file: string,
  names: readonly string[],
): Promise<Verdict[]> {
  if (needsBinary(file)) await copy.compile();
  // of all the tests of a file together
  const secondsMax = names.length * (needsBinary(file) ? testSecondsMax.endToEnd : testSecondsMax.quick);
  const env = {
    ...copy.env,
    TS_NODE_TRANSPILE_ONLY: "1",
    TAP_GREP: `/^(?:${names.map(escape).join("|")})$/`,
    TAP_FILTER_QUIETLY: "1",
    TAP_TIMEOUT: String(secondsMax),
  };
  const command = ["node", "--import=@tapjs/typescript/import", file] as const;
  const ended = await run(copy, command, env, secondsMax * 1_000);
  return names.map((name) => verdictOn(name, ended.output));
}

function verdictOn(name: string, output: string): Verdict {
  const lines = output.split("\n");
  const begin = lines.indexOf(`# Subtest: ${name}`);
  const end = lines.findIndex((line, at) =>
    at > begin && /^(?:not )?ok \d+ - /.test(line) && titleOf(line) === name
  );
  // one that is merely named was left out
  if (begin < 0 || end < 0) throw new Error(`The test "${name}" did not run:\n${output}`);
  if (lines[end]!.startsWith("ok")) return { failed: null, output };
  const failed = lines.slice(begin, end).find((line) => /^ +not ok \d+ - /.test(line));
  return { failed: failed === undefined ? "it did not end in time" : titleOf(failed.trim()), output };
}

/** `not ok 3 - a title # time=12ms {` */
function titleOf(line: string): string {
  return line.replace(/^(?:not )?ok \d+ - /, "").replace(/(?: # time=[\d.]+m?s)?(?: \{)?$/, "");
}

async function simulate(copy: PatchedCopy, seeds: number): Promise<Verdict> {
  const { code, output } = await run(
    copy,
    ["bun", "test/sim/main.ts", "--seeds", String(seeds)],
    copy.env,
    simulationMsMax,
  );
  if (code === 0 && output.includes(`${seeds} seeds from 0 hold`)) return { failed: null, output };
  // behind the lines of source that Bun shows
  const violation = /^seed (\d+):[^]*?^(?:Violation|error): ((?:I\d+|C8|sum)\b.*)$/m.exec(output);
  if (code !== 1 || violation === null) {
    throw new Error(`The simulation ended with ${code}:\n${output.slice(-4_000)}`);
  }
  return { failed: `seed ${violation[1]}: ${violation[2]}`, output };
}

async function run(
  copy: PatchedCopy,
  command: readonly [string, ...string[]],
  env: NodeJS.ProcessEnv,
  msMax: number,
): Promise<Ended> {
  const ended = await runProgram(command, { cwd: copy.folder, env, limitMs: msMax + startMsMax });
  if (ended.isLate) {
    throw new Error(`${command.join(" ")} did not end in time:\n${ended.output.slice(-4_000)}`);
  }
  return ended;
}

function escape(text: string): string {
  return text.replaceAll(/[\\^$.*+?()[\]{}|\/]/g, "\\$&");
}
