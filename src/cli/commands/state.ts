import { UsageError } from "../../base/errors.ts";
import { printable } from "../../base/printable.ts";
import { readState } from "../../state/read_state.ts";
import type { Invocation } from "../invocation.ts";
import { settle } from "../settings.ts";
import { statePlace } from "../state_place.ts";
import { stateJson, stateLines } from "../state_report.ts";

/** Prints a state file on stdout; takes no lock, so the run may go on meanwhile. */
export async function state({ line, env }: Invocation): Promise<number> {
  const [word, ...more] = line.words;
  if (more.length > 0) {
    throw new UsageError(`\`taskmaster state\` takes one word, not "${printable(more[0]!, 60)}" besides.`);
  }
  const settings = settle(line, env);
  const report = await readState(statePlace(word, settings));
  const text = settings.json ? `${stateJson(report)}\n` : `${stateLines(report).join("\n")}\n`;
  // Bun calls back for an empty write, as `exit` makes one, before a pipe has taken all that is queued; for this, after.
  await new Promise<void>((resolve) => process.stdout.write(text, () => resolve()));
  return 0;
}
