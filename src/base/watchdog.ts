import { Worker } from "node:worker_threads";

/** What the main thread tells its watchdog thread, as numbers in shared memory. */
export const watchSlots = {
  /** Counts up with every job begun: tells a call that hangs from one that was called again. */
  begun: 0,
  /** Seq of the job whose handler is on the stack; -1 while there is none. */
  onStack: 1,
  /** Number of the latest start note. */
  note: 2,
  /** Set by the watchdog once it put `onStack` on record; the main thread takes it back. */
  recorded: 3,
} as const;

export type WatchdogOptions = Readonly<{
  /** The process that this one must not outlive. */
  parentPid: number;
  /** Removed when that process is gone. */
  folder?: string | undefined;
  /** Where, and at which byte, a call that lasts is recorded; `watch` is a view of four numbers in shared memory. */
  record?: Readonly<{ path: string; offset: number; watch: Float64Array }> | undefined;
}>;

/**
 * Starts a thread that ends this process within a second of its parent's death, also while the main thread loops:
 * SIGKILL to its process group, since nobody is left to tell. Its source is text, for a compiled binary has no file to load it from.
 * It also records which handler call has been on the stack for some 100 ms, so that a call that never returns
 * is known by its job.
 *
 * On Windows a parent's death shows nowhere; there the closed socket ends the process.
 */
export function startWatchdog(options: WatchdogOptions): void {
  const workerData = { ...options, slots: watchSlots };
  const thread = new Worker(source, { eval: true, workerData, env: {}, stdin: false });
  thread.unref();
  thread.on("error", () => {});
}

const source = `
const { workerData } = require("node:worker_threads");
const fs = require("node:fs");
const { parentPid, folder, record, slots } = workerData;
let begun = -1;
let fd = -1;
function watchCall({ path, offset, watch }) {
  const was = begun;
  begun = watch[slots.begun];
  const seq = watch[slots.onStack];
  if (begun !== was || seq < 0 || watch[slots.recorded] !== 0) return;
  const note = watch[slots.note];
  watch[slots.recorded] = 1;
  if (watch[slots.begun] !== begun || watch[slots.note] !== note) return;
  if (fd < 0) fd = fs.openSync(path, "r+");
  fs.writeSync(fd, new Float64Array([note, seq]), 0, 16, offset);
}
function checkParent() {
  if (process.ppid === parentPid) return;
  // Another process may just be writing into it.
  for (let tries = 0; folder && tries < 5; tries++) {
    try {
      fs.rmSync(folder, { recursive: true, force: true });
      break;
    } catch {}
  }
  // What handlers started goes too: it is in the group that this process leads, if it leads one.
  try { process.kill(-process.pid, "SIGKILL"); } catch {}
  process.kill(process.pid, "SIGKILL");
}
setInterval(() => {
  if (process.platform !== "win32") checkParent();
  if (record) try { watchCall(record); } catch {}
}, record ? 100 : 500);
`;
