import { join } from "node:path";

/** The files of one key in its folder. */
export type StateFiles = Readonly<
  { dir: string; key: string; state: string; prev: string; dead: string; lock: string }
>;

export function stateFiles(dir: string, key: string): StateFiles {
  const state = join(dir, `${key}.state`);
  return {
    dir,
    key,
    state,
    prev: `${state}.prev`,
    dead: join(dir, `${key}.dead.ndjson`),
    lock: join(dir, `${key}.lock`),
  };
}
