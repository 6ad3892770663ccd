import { needsBinary, type TestCheck } from "./mutant.ts";
import type { PatchedCopy } from "./patched_copy.ts";
import type { Verdict } from "./verdict.ts";

/** A test that runs for longer hangs. */
const testSecondsMax = { quick: 30, endToEnd: 90 };
/** What a run may take beyond that. */
const startMsMax = 60_000;

type Failure = Readonly<{ title: string; how: "asserted" | "hung" | "threw" }>;

/**
 * Runs tests of one file, and returns their verdicts in that order.
 *
 * @throws {Error} if one neither held nor failed in a way that counts.
 */
export async function runTests(
  copy: PatchedCopy,
  file: string,
  checks: readonly TestCheck[],
): Promise<Verdict[]> {
  if (needsBinary(file)) await copy.compile();
  const secondsMax = needsBinary(file) ? testSecondsMax.endToEnd : testSecondsMax.quick;
  // of all the tests of a file together
  const allSecondsMax = checks.length * secondsMax;
  const { output } = await copy.run(
    ["node", "--import=@tapjs/typescript/import", file],
    allSecondsMax * 1_000 + startMsMax,
    {
      env: {
        TS_NODE_TRANSPILE_ONLY: "1",
        TAP_GREP: `/^(?:${checks.map(({ name }) => escape(name)).join("|")})$/`,
        TAP_FILTER_QUIETLY: "1",
        TAP_TIMEOUT: String(allSecondsMax),
      },
      // a test that failed may leave a server open, and its process would wait for that one
      isDone: (output) => {
        const lines = output.split("\n").slice(0, -1);
        return checks.every(({ name }) => endOf(name, lines) >= 0);
      },
    },
  );
  return checks.map((check) => verdictOn(check, output, secondsMax));
}

/** @param secondsMax What a test may take that holds: alone it has no more. */
export function verdictOn({ name, otherwise }: TestCheck, output: string, secondsMax: number): Verdict {
  const lines = output.split("\n");
  const begin = lines.indexOf(beginOf(name));
  const end = endOf(name, lines);
  if (end < 0) throw new Error(`The test "${name}" did not run:\n${output}`);
  if (lines[end]!.startsWith("ok")) {
    const seconds = secondsOf(lines[end]!);
    if (seconds <= secondsMax) return { failed: null, output };
    throw new Error(`The test "${name}" held, but took ${seconds} s, more than ${secondsMax}`);
  }
  const failures = failuresIn(lines.slice(begin, end));
  const counts = failures.find(({ title, how }) =>
    how === "asserted" || how === "hung" && otherwise === "hangs" ||
    how === "threw" && otherwise instanceof RegExp && otherwise.test(title)
  );
  if (counts !== undefined) return { failed: counts.title, output };
  const said = failures.map(({ title, how }) => `${how}: ${title}`).join("; ");
  throw new Error(
    `No assertion of the test "${name}" failed, but it did (${said}):\n${output.slice(-4_000)}`,
  );
}

function beginOf(name: string): string {
  return `# Subtest: ${name}`;
}

/** The index of the line with the verdict; -1 if there is none. A test that is merely named was left out. */
function endOf(name: string, lines: readonly string[]): number {
  const begin = lines.indexOf(beginOf(name));
  return begin < 0
    ? -1
    : lines.findIndex((line, at) => at > begin && /^(?:not )?ok \d+ - /.test(line) && titleOf(line) === name);
}

function failuresIn(lines: readonly string[]): Failure[] {
  return lines.flatMap((line, at) => {
    const indent = /^( +)not ok \d+ - /.exec(line)?.[1];
    const title = titleOf(line.trim());
    // a subtest only sums up what failed in it
    if (indent === undefined || lines.includes(`${indent}# Subtest: ${title}`)) return [];
    const details = lines.slice(at, lines.indexOf(`${indent}  ...`, at));
    const has = (entry: string) => details.some((detail) => detail.startsWith(`${indent}  ${entry}`));
    // what ended the test and was no assertion of it, of tap or of node:assert, tap says in the details
    const threw = has("tapCaught: ") && !has("code: ERR_ASSERTION");
    return [{ title, how: has("expired: ") ? "hung" : threw ? "threw" : "asserted" }];
  });
}

const ending = /(?: # time=([\d.]+)(m?)s)?(?: \{)?$/;

/** `not ok 3 - a title # time=12ms {` */
function titleOf(line: string): string {
  return line.replace(/^(?:not )?ok \d+ - /, "").replace(ending, "");
}

function secondsOf(line: string): number {
  const [, number = "0", milli] = ending.exec(line)!;
  return Number(number) / (milli === "m" ? 1_000 : 1);
}

function escape(text: string): string {
  return text.replaceAll(/[\\^$.*+?()[\]{}|\/]/g, "\\$&");
}
