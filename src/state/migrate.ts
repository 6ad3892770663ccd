import { asFields, asList, DamageError } from "./fields.ts";

/** The version of the body that this program writes; see docs/state-file.md on how to change it. */
export const stateVersion = 2;

/** Stands for a hash that cannot be compared. */
const unknownHash = new Uint8Array(0);

/** By version: what a body of that version is in the next one. Bodies are decoded and not yet checked. */
export type Migrations = Readonly<Record<number, (body: unknown) => unknown>>;

export const migrations: Migrations = { 1: fromVersion1 };

/**
 * Version 1 did not note whether a master died, so its `repeated` is all that is known, and no more. Its hash was that of
 * the plugin's file alone, and says nothing about the code as it is hashed now.
 */
function fromVersion1(body: unknown): unknown {
  const [head, ...rest] = asList(body, "the body", 3);
  const fields = asFields(head, "the head");
  const added = {
    handedOutAgain: 0,
    againToCome: 0,
    repeatedAtLeast: true,
    final: true,
    settings: {},
    pluginHash: unknownHash,
  };
  return [{ ...fields, ...added }, ...rest];
}

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
