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

/** What is told to the person who gave a command. `fault`: it was heard, but not all of it could be done. */
export type Said = Readonly<{ line: string; fault?: string }>;

/** A command that changes something, or a question (`isQuestion`), of which no one needs to know who asked. */
type Command<R> = Readonly<{
  help: string;
  isQuestion?: true;
  /** @throws {Error} with a sentence, if the command had no effect. */
  apply: (master: Steered) => R | Promise<R>;
  /** The answer for a person; a question's answer is shown by whoever asked. */
  says: (result: R) => Said;
}>;

function command<R>(row: Command<R>): Command<R> {
  return row;
}

/**
 * All that others may ask of a running master, or tell it: one row for `ctl` and for whatever else has buttons or keys. A
 * change of a setting is an event to the core, which keeps it in the state.
 */
export const controlCommands = {
  status: command({
    help: "how the run does",
    isQuestion: true,
    apply: (master) => master.snapshot(),
    says: ({ key }) => ({ line: `The master of "${key}" answers.` }),
  }),
  pause: command({
    help: "hand out nothing more until `resume`, also over restarts of the master; jobs that run go on",
    apply: (master) => change(master, () => master.pause(true)),
    says: (changed) => sayChanged("Paused: nothing more is handed out; jobs that run go on.", changed),
  }),
  resume: command({
    help: "hand out jobs again",
    apply: (master) => change(master, () => master.pause(false)),
    says: (changed) => sayChanged("Resumed: jobs are handed out again.", changed),
  }),
  checkpoint: command({
    help: "save the state now, and say when it is durable",
    apply: (master) => saved(master),
    says: ({ tookMs, saveError }) =>
      saveError === null ? { line: `The state is saved (${Math.round(tookMs!)} ms).` } : {
        line: "The state is not saved; the master goes on trying.",
        fault: `It could not be saved: ${saveError}`,
      },
  }),
};

export type ControlCommandName = keyof typeof controlCommands;

/** All commands but `status`, which is a command of the program. */
export const verbs = (Object.keys(controlCommands) as ControlCommandName[]).filter((name) =>
  name !== "status"
);

export function isControlCommand(name: string): name is ControlCommandName {
  return Object.hasOwn(controlCommands, name);
}

/** Whoever changes a setting waits until the state is saved: before that, a crash would undo the change. */
async function change(master: Steered, apply: () => void): Promise<Changed> {
  apply();
  const { saveError } = await saved(master);
  return { saveError };
}

/** The state is durable, after so long; or it is not, for this reason. */
async function saved(master: Steered): Promise<Changed & Readonly<{ tookMs: number | null }>> {
  return await master.checkpoint().then(
    ({ tookMs }) => ({ tookMs, saveError: null }),
    (error: unknown) => ({ tookMs: null, saveError: error instanceof Error ? error.message : String(error) }),
  );
}

function sayChanged(line: string, { saveError }: Changed): Said {
  if (saveError === null) return { line };
  return { line, fault: `This counts, but the state could not be saved yet: ${saveError}` };
}

/** The answer to a command, for a person. The master proved the token, so its answer is taken to be of the row's type. */
export function sayAnswer(name: ControlCommandName, result: unknown): Said {
  const { says } = controlCommands[name] as Command<unknown>;
  return says(result);
}

/**
 * What a master answered to `status`. Another version may say other things: fields that are not known here are kept.
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
