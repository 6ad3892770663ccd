import { existsSync } from "node:fs";
import { StateError } from "../base/errors.ts";
import { asClause } from "../base/printable.ts";
import type { RunState } from "../core/types.ts";
import { nodeDisk } from "./disk.ts";
import { DamageError } from "./fields.ts";
import type { Identity } from "./identity.ts";
import { readStateFile } from "./read_state_file.ts";

/** What a state file says, for people. */
export type StateReport = Readonly<{
  path: string;
  /** Of the format. */
  version: number;
  identity: Identity;
  epoch: number;
  state: RunState;
  /** Wall-clock time of the file, in ms. */
  savedAtMs: number;
}>;

/**
 * Reads a state file without taking its lock: it is never absent, nor half written, while its master runs.
 *
 * @throws {StateError} if there is none, it is damaged, or written by a newer version.
 */
export async function readState(path: string): Promise<StateReport> {
  const read = await readStateFile(nodeDisk, path).catch((error: unknown) => {
    if (!(error instanceof DamageError)) throw error;
    const advice = existsSync(`${path}.prev`)
      ? `The one before it may be good: "${path}.prev".`
      : "There is none before it: put a good copy in its place, or start over with --reset.";
    throw new StateError(`Cannot read "${path}": ${asClause(error.message)}. ${advice}`);
  });
  if (read === null) {
    throw new StateError(
      `Cannot read "${path}": there is no such file. Give the key of a run, and its folder with --state-dir.`,
    );
  }
  const { header: { version, epoch }, identity, state, savedAtMs } = read;
  return { path, version, identity, epoch, state, savedAtMs };
}
