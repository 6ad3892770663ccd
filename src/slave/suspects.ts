import { unite } from "../base/range_set.ts";
import type { Ranges } from "../base/ranges.ts";
import type { StartNote } from "../base/start_note.ts";

/** Jobs that may have been running when the worker that left this note died. */
export function suspectsOf(note: StartNote | null, concurrency: number): Ranges {
  if (note === null) return [];
  const [from, to] = note.ahead;
  if (note.onStack === null) return unite(note.running, from < to ? [from, to] : []);
  const onStack = [note.onStack, note.onStack + 1];
  // One at a time: those before the one on the stack have ended.
  if (concurrency === 1) return onStack;
  const before = note.onStack >= from && note.onStack < to ? [from, note.onStack + 1] : onStack;
  return unite(note.running, before);
}

/** How a process died, in words. */
export function deathReason(code: number | null, signal: string | null): string {
  return signal === null ? `handler exited (${code})` : `killed by ${signal}`;
}
