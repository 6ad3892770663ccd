import { UsageError } from "../base/errors.ts";
import type { RunName } from "./run_name.ts";
import { canAsk, isConfirmed } from "./question.ts";
import { peekState } from "./peek_state.ts";
import type { Settings } from "./options.ts";

/**
 * Before an unfinished run is started over, asks the person at the terminal, if there is one. `--force` answers.
 *
 * @throws {UsageError} if the answer is no.
 */
export async function confirmReset(settings: Settings, name: RunName): Promise<void> {
  if (!settings.reset || settings.force || !canAsk()) return;
  const found = await peekState(name);
  if (found === undefined || found.complete) return;
  const { handedOut, stranded } = found;
  const question =
    `The run "${name.key}" is not finished: ${handedOut} jobs handed out, ${stranded} of them unfinished. Start over?`;
  if (await isConfirmed(question)) return;
  throw new UsageError("Not started: without --reset, the same command resumes the run.");
}
