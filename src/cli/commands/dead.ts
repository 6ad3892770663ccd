import { existsSync } from "node:fs";
import { StateError } from "../../lib/errors.ts";
import { printable } from "../../lib/text.ts";
import { type DeadLetterRecord, DeadLetterScan } from "../../state/store.ts";
import {
  DeadLetterGroups,
  groupId,
  groupOf,
  letterJson,
  letterLine,
  letterLines,
} from "../../terminal/dead_letters.ts";
import type { Invocation } from "../command.ts";
import type { Settings } from "../options.ts";
import { deadCommand, programWords } from "../program.ts";
import { filesOfRun } from "../run_name.ts";
import { settle } from "../settings.ts";

/** Most letters of a group that are listed for a person. */
const lettersShownMax = 100;

/** Prints dead letters on stdout; takes no lock, so the run may go on meanwhile. */
export async function dead(invocation: Invocation): Promise<number> {
  // What fails is told to `print`.
  process.stdout.on("error", () => {});
  try {
    return await printLetters(invocation);
  } catch (error) {
    if (error instanceof ReaderGone) return 0;
    throw error;
  }
}

async function printLetters(invocation: Invocation): Promise<number> {
  const { line, env } = invocation;
  const settings = settle(line, env);
  const files = filesOfRun(line.words[0]!, settings);
  const scan = new DeadLetterScan(files.dead);
  const letters = chosen(scan, settings);
  const found = settings.json
    ? await showEach(letters, (letter) => [letterJson(letter)])
    : settings.seq !== undefined
    ? await showEach(letters, letterLines)
    : settings.group !== undefined
    ? await showGroup(letters)
    : await showGroups(letters, files.dead, deadCommand(programWords(invocation), line));
  if (scan.damagedCount > 0) throw damage(files.dead, scan);
  if (found > 0) return 0;
  if (!existsSync(files.dead) && !existsSync(files.state)) {
    throw new StateError(
      `Cannot read "${files.dead}": there is no such file, nor a state of that run. Give the key of a run, and its ` +
        "folder with --state-dir.",
    );
  }
  if (!settings.json) await print([nothing(settings, files.dead)]);
  return 0;
}

/** The letters that the options name, some at once. */
async function* chosen(
  scan: DeadLetterScan,
  { seq, group }: Settings,
): AsyncGenerator<readonly DeadLetterRecord[]> {
  for await (const letters of scan.letters()) {
    yield letters.filter((letter) =>
      (seq === undefined || seq.includes(letter.seq)) &&
      (group === undefined || groupId(groupOf(letter)) === group)
    );
  }
}

type Letters = AsyncIterable<readonly DeadLetterRecord[]>;

/** As they are read. Each resolves with how many there were. */
async function showEach(letters: Letters, linesOf: (letter: DeadLetterRecord) => string[]): Promise<number> {
  let count = 0;
  for await (const some of letters) {
    count += some.length;
    await print(some.flatMap(linesOf));
  }
  return count;
}

async function showGroup(letters: Letters): Promise<number> {
  const groups = new DeadLetterGroups("in full");
  const listed: string[] = [];
  for await (const some of letters) {
    for (const letter of some) {
      groups.add(letter);
      if (listed.length < lettersShownMax) listed.push(letterLine(letter));
    }
  }
  const rest = groups.count - listed.length;
  const more = rest > 0 ? [`  and ${rest} more (--json lists all)`] : [];
  await print([
    ...groups.lines(),
    ...(listed.length > 0 ? ["", "Its letters, the newest first:"] : []),
    ...listed,
    ...more,
  ]);
  return groups.count;
}

async function showGroups(letters: Letters, path: string, command: string): Promise<number> {
  const groups = new DeadLetterGroups("briefly");
  for await (const some of letters) some.forEach((letter) => groups.add(letter));
  const { count } = groups;
  if (count === 0) return 0;
  await print([
    `${count} dead letter${count === 1 ? "" : "s"} in ${printable(path, Infinity)}`,
    "",
    ...groups.lines(),
    "",
    `One group: ${command} --group G`,
  ]);
  return count;
}

function nothing({ seq, group }: Settings, path: string): string {
  const which = seq === undefined && group === undefined ? "No dead letters" : "No such dead letters";
  return `${which} in ${printable(path, Infinity)}`;
}

function damage(path: string, { damagedCount, damagedLines }: DeadLetterScan): StateError {
  const named = damagedLines.length < damagedCount
    ? `${damagedLines.join(", ")}, ...`
    : damagedLines.join(", ");
  const which = damagedCount === 1
    ? `1 line is no dead letter, line ${named}`
    : `${damagedCount} lines are no dead letters, lines ${named}`;
  return new StateError(
    `In "${path}" ${which}: something else than a master wrote there. The rest was read.`,
  );
}

/** @throws {ReaderGone} */
async function print(lines: readonly string[]): Promise<void> {
  if (lines.length === 0) return;
  const text = `${lines.join("\n")}\n`;
  // Bun calls back for an empty write, as `exit` makes one, before a pipe has taken all that is queued; for this, after.
  const error = await new Promise<Error | null | undefined>((resolve) => process.stdout.write(text, resolve));
  if (error && "code" in error && error.code === "EPIPE") throw new ReaderGone();
  if (error) throw error;
}

/** Whoever reads stdout has enough, as `head` does. */
class ReaderGone extends Error {}
