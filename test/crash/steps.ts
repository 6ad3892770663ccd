/** What is done to a system call instead of carrying it out. */
export type Fault = "SIGKILL" | "ENOSPC" | "EIO";
export const faults: readonly Fault[] = ["SIGKILL", "ENOSPC", "EIO"];

/** One system call of a save or of an append, as strace shows it. */
export type Step = Readonly<{
  of: "save" | "append" | "last save" | "start";
  /** What it does, for people. */
  name: string;
  call: string;
  /** What tells its line from those of other calls of this name. */
  line: RegExp;
  /**
   * The file to which strace is restricted. Only a call whose first path or descriptor is exactly this can be, and
   * temporary files have random names.
   */
  on?: "state" | "dead" | "folder";
  /** Calls of this name that come before it, on whatever thread: strace counts for each thread. */
  after?: number;
  /** Which one it is of two that look alike. */
  alike?: 0 | 1;
  /** Only a state of more than 256 KiB has it, once or more often. */
  isForLarge?: boolean;
  /** How often the state is saved, where it matters. */
  checkpoint?: string;
  /** No job becomes a dead letter. */
  isWithoutLetters?: boolean;
}>;

type Named = Omit<Step, "of">;

/** Only the first save and the last. */
const never = "1h";

const temporary = String.raw`/probe\.state\.tmp\.[0-9a-f]{8}`;
const state = String.raw`/probe\.state`;
const lock = String.raw`/probe\.lock`;
const letters = String.raw`/probe\.dead\.ndjson`;

/** The call names this path, or has this file open as its first argument. */
const opens = (path: string) => new RegExp(`\\(AT_FDCWD<[^>]*>, "[^"]*${path}"`);
const has = (path: string) => new RegExp(`\\(\\d+<[^>]*${path}>`);
/** Writes at this byte; the line ends there if the call returned, or was killed. */
const writesAt = (path: string, at: string) =>
  new RegExp(`\\(\\d+<[^>]*${path}>.*, ${at}(?:\\)| <unfinished)`);
const moves = (from: string, to: string) => new RegExp(`\\("[^"]*${from}", "[^"]*${to}"`);

const folder: readonly Named[] = [
  { name: "open the folder", call: "openat", on: "folder", line: opens("") },
  { name: "sync the folder", call: "fsync", on: "folder", line: has("") },
  { name: "close the folder", call: "close", on: "folder", line: has("") },
];

const save: readonly Named[] = [
  { name: "open the temporary file", call: "openat", line: opens(temporary) },
  { name: "write its body", call: "pwrite64", line: writesAt(temporary, "116") },
  {
    name: "write more of its body",
    call: "pwrite64",
    line: writesAt(temporary, "[1-9]\\d{5,}"),
    after: 1,
    isForLarge: true,
  },
  { name: "write its header", call: "pwrite64", line: writesAt(temporary, "0"), after: 1 },
  { name: "sync it", call: "fsync", line: has(temporary) },
  { name: "close it", call: "close", line: has(temporary) },
  { name: "look at the state", call: "statx", on: "state", line: opens(state) },
  { name: "open the state", call: "openat", on: "state", line: opens(state) },
  { name: "look at what was opened", call: "statx", on: "state", line: has(state), after: 1 },
  { name: "read its header", call: "pread64", on: "state", line: has(state) },
  { name: "close the state", call: "close", on: "state", line: has(state) },
  { name: "link the state", call: "link", line: moves(state, "\\.prev\\.tmp\\.[0-9a-f]{8}") },
  { name: "rename the link to .prev", call: "rename", line: moves("", "\\.prev") },
  { name: "rename over the state", call: "rename", line: moves(temporary, state), after: 1 },
  // appends sync the folder too, so there must be none
  ...folder.map((step) => ({ ...step, isWithoutLetters: true })),
];

const append: readonly Named[] = [
  { name: "open the letters", call: "openat", on: "dead", line: opens(letters) },
  { name: "look at what was opened", call: "statx", on: "dead", line: has(letters), alike: 0 },
  { name: "ask how long it is", call: "statx", on: "dead", line: has(letters), after: 1, alike: 1 },
  { name: "read its last line", call: "pread64", on: "dead", line: has(letters) },
  { name: "write the letters", call: "write", on: "dead", line: has(letters) },
  { name: "sync them", call: "fsync", on: "dead", line: has(letters) },
  { name: "close them", call: "close", on: "dead", line: has(letters) },
  // saves sync the folder too, so there must be none meanwhile
  ...folder.map((step) => ({ ...step, checkpoint: never })),
];

const note = moves(`${lock}\\.tmp\\.[0-9a-f]{8}`, lock);

const start: readonly Named[] = [
  { name: "rename the lock's note", call: "rename", line: note, alike: 0 },
  { name: "list the folder", call: "openat", on: "folder", line: opens("") },
  { name: "sync the trial file", call: "fsync", line: has(temporary), alike: 0 },
  { name: "rename the trial file", call: "rename", line: moves(temporary, `${state}\\.tmp`), after: 1 },
  { name: "remove the trial file", call: "unlink", line: /./ },
  { name: "rename the note anew", call: "rename", line: note, after: 2, alike: 1 },
  { name: "write the first body", call: "pwrite64", line: writesAt(temporary, "116") },
  { name: "sync the first state", call: "fsync", line: has(temporary), after: 1, alike: 1 },
  { name: "rename it to its name", call: "rename", line: moves(temporary, state), after: 3 },
  { name: "sync the folder", call: "fsync", on: "folder", line: has("") },
];

/** Every call of a save in mid-run, in its order; `record.ts` compares it with what a run does. */
export const saveSteps: readonly Step[] = save.map((step) => ({ ...step, of: "save" }));
/** Every call of an append to dead letters that are there, likewise. */
export const appendSteps: readonly Step[] = append.map((step) => ({ ...step, of: "append" }));

/** Calls of the only save between start and end, which decides the exit code; each try of it is struck. */
export const lastSaveSteps: readonly Step[] = save.filter(({ isForLarge }) => !isForLarge)
  .map((step) => ({ ...step, of: "last save", checkpoint: never, isWithoutLetters: true }));
/** Calls of a start up to its first save, which come before any job is handed out. */
export const startSteps: readonly Step[] = start.map((step) => ({ ...step, of: "start" }));

/** Whether a new state is in place once this call is reached. */
export function isBehindRename({ of, name }: Step): boolean {
  return of !== "append" && folder.some((step) => step.name === name);
}
