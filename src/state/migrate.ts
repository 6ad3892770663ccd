import { DamageError } from "./fields.ts";

/** The version of the body that this program writes; see docs/state-file.md on how to change it. */
export const stateVersion = 1;

/** By version: what a body of that version is in the next one. Bodies are decoded and not yet checked. */
export type Migrations = Readonly<Record<number, (body: unknown) => unknown>>;

/** Version 1 is the first, so there are none yet. */
export const migrations: Migrations = {};

/**
 * A body of an older version, brought to `to` step by step.
 *
 * @throws {DamageError} if no such version ever was.
 */
export function migrate(body: unknown, from: number, to = stateVersion, steps = migrations): unknown {
  for (let version = from; version < to; version++) {
    const step = steps[version];
    if (step === undefined) throw new DamageError(`there is no version ${version} of it`);
    body = step(body);
  }
  return body;
}
