import { type ControlCommandName, isControlCommand, sayAnswer, verbs } from "../../control/commands.ts";
import { UsageError } from "../../lib/errors.ts";
import { printable, reported, safeJson, suggest } from "../../lib/text.ts";
import type { Invocation } from "../command.ts";
import { connectToRun } from "../reach_run.ts";
import { settle } from "../settings.ts";

/** The words of `ctl`: the run, if one is named, and what it is to do. @throws {UsageError} */
function readWords(words: readonly string[]): { run: string | undefined; verb: ControlCommandName } {
  const [first, second] = words;
  const [run, verb] = second === undefined ? [undefined, first!] : [first, second];
  if (isControlCommand(verb) && verb !== "status") return { run, verb };
  if (verb === "status") {
    throw new UsageError("`taskmaster status` shows how a run does; `taskmaster ctl` steers it.");
  }
  const meant = suggest(verb, verbs);
  if (second === undefined && meant === undefined && /[/\\.]/.test(verb)) {
    throw new UsageError(`\`taskmaster ctl\` needs a verb behind the run: one of ${verbs.join(", ")}.`);
  }
  const hint = meant === undefined ? `it is one of ${verbs.join(", ")}.` : `did you mean ${meant}?`;
  throw new UsageError(`There is no verb "${printable(verb, 60)}": ${hint}`);
}

/** Tells a running master to do something. */
export async function ctl(invocation: Invocation): Promise<number> {
  const settings = settle(invocation.line, invocation.env);
  const { run, verb } = readWords(invocation.line.words);
  const client = await connectToRun(run, settings, invocation);
  try {
    const result = await client.ask(verb);
    const said = sayAnswer(verb, result);
    if (settings.json) process.stdout.write(`${safeJson(JSON.stringify(result))}\n`);
    else process.stdout.write(`${printable(said.line, Infinity)}\n`);
    if (said.fault !== undefined) {
      process.stderr.write(reported(said.fault));
      return 6;
    }
    return 0;
  } finally {
    await client.close();
  }
}
