import { existsSync } from "node:fs";
import { readState } from "../state/read_state.ts";
import { stateFiles } from "../state/state_files.ts";
import type { RunName } from "./run_name.ts";

/** What an earlier start saved, as far as a question needs it; undefined if there is nothing, or nothing readable. */
export async function peekState(
  { stateDir, key }: RunName,
): Promise<{ complete: boolean; handedOut: number; stranded: number } | undefined> {
  const path = stateFiles(stateDir, key).state;
  if (!existsSync(path)) return undefined;
  const read = await readState(path).catch(() => undefined);
  if (read === undefined) return undefined;
  const { complete, handedOut, done, skipped, dead } = read.state;
  return { complete, handedOut, stranded: handedOut - done - skipped - dead };
}
