import { ConnectError } from "../lib/errors.ts";
import type { Snapshot } from "../observe/events.ts";

/** What commands may do to a running master. */
export interface Steered {
  snapshot(): Snapshot;
  /** Takes effect at once; it is kept once the state is saved. */
  pause(isPaused: boolean): void;
  /** Saves the state now. Resolves once it is durable, with how long that took. @throws {Error} if it cannot be saved. */
  checkpoint(): Promise<{ tookMs: number }>;
}

/** What becomes of a setting that was changed; `saveError`: it counts, but is not durable, for this reason. */
export type Changed = Readonly<{ saveError: string | null }>;

type Command<R> = Readonly<{
  help: string;
  /** Whether it changes nothing: then nobody needs to know who asked. */
  isQuestion: boolean;
  /** What the run looks like to whoever asked. @throws {Error} with a sentence, if it had no effect. */
  apply: (master: Steered) => R | Promise<R>;
}>;

function command<R>(row: Command<R>): Command<R> {
  return row;
}

/**
 * All that others may ask of a running master, or tell it: once, for `ctl`, and for whatever else has buttons or keys. A
 * change of a setting is an event to the core, which keeps it in the state.
 */
export const commands = {
  status: command({
    help: "how the run does",
    isQuestion: true,
    apply: (master) => master.snapshot(),
  }),
  pause: command({
    help: "hand out nothing more until `resume`, also over restarts of the master; jobs that run go on",
    isQuestion: false,
    apply: (master) => change(master, () => master.pause(true)),
  }),
  resume: command({
    help: "hand out jobs again",
    isQuestion: false,
    apply: (master) => change(master, () => master.pause(false)),
  }),
  checkpoint: command({
    help: "save the state now, and say when it is durable",
    isQuestion: false,
    apply: (master) => master.checkpoint(),
  }),
};

export type CommandName = keyof typeof commands;
export type ResultOf<N extends CommandName> = Awaited<ReturnType<(typeof commands)[N]["apply"]>>;

/** All but `status`, which is a command of the program. */
export const verbs = (Object.keys(commands) as CommandName[]).filter((name) => name !== "status");

export function isCommand(name: string): name is CommandName {
  return Object.hasOwn(commands, name);
}

/** What a setting is worth that a crash undoes: whoever changed it waits for the state, and is told if that fails. */
async function change(master: Steered, apply: () => void): Promise<Changed> {
  apply();
  return await master.checkpoint().then(
    () => ({ saveError: null }),
    (error: unknown) => ({ saveError: error instanceof Error ? error.message : String(error) }),
  );
}

/**
 * What a master answered to `status`: it proved the token, so its figures are believed, but another version may say other
 * things. Fields that are not known here are kept.
 *
 * @throws {ConnectError} if what every version says is not there.
 */
export function readSnapshot(result: unknown): Snapshot {
  const snapshot = result as Partial<Snapshot> | null;
  const isKnown = typeof snapshot === "object" && snapshot !== null && typeof snapshot.settled === "number" &&
    typeof snapshot.reason === "object" && Array.isArray(snapshot.sessions);
  if (!isKnown) {
    throw new ConnectError(
      "Cannot read what that master says of itself: it is of another version. Use the binary that it runs.",
    );
  }
  return snapshot as Snapshot;
}
