import { readFileSync } from "node:fs";
import type { OwnFile } from "../../src/lib/own_file.ts";
import { type Ranges, rangesOfSpans, type Span, subtract, unite } from "../../src/lib/ranges.ts";
import { makeWatch } from "../../src/lib/watchdog.ts";
import { readNote, type StartNote } from "../../src/lib/worker_start.ts";
import { StartNotes } from "../../src/worker/notes.ts";

export function readNoteAt(path: string): StartNote | null {
  const file = readFileSync(path);
  return readNote((offset, length) => new Uint8Array(file.subarray(offset, offset + length)));
}

/** What a walk found: jobs that ran and were not named, jobs that were named as running and had ended, and what runs. */
export type Walk = Readonly<{ steps: number; unnamed: Ranges; ended: Ranges; running: Ranges }>;

/**
 * Begins and ends calls as a worker does, in an order made from `seed`, and reads the note file after each step, as if
 * the process had died there.
 */
export function walkNotes(file: OwnFile, seed: number, steps: number, callsMax: number): Walk {
  const notes = new StartNotes(file, makeWatch());
  const running: (Span & { place: number })[] = [];
  const pick = (count: number): number => {
    seed = (seed * 48_271) % 0x7fffffff;
    return seed % count;
  };
  let next = 0, nowMs = 1;
  let unnamed: Ranges = [], ended: Ranges = [];
  for (let step = 0; step < steps; step++) {
    nowMs += pick(100) / 1_000;
    const doing = pick(40);
    if (doing === 0) notes.settle(nowMs);
    else if (doing < 12 && running.length > 0) {
      const [call] = running.splice(pick(running.length), 1);
      notes.free(call!.place);
    } else if (running.length < callsMax) {
      const to = next + 1 + pick(3);
      if (notes.coveredTo(next) < to) notes.cover(next, to, next + 1_000, nowMs);
      if (pick(3) > 0) running.push({ from: next, to, place: notes.hold(next, to) });
      next = to;
    }
    const note = readNoteAt(file.path);
    if (note === null) continue;
    const runs = rangesOfSpans(running);
    const named = unite(note.running, note.ahead[0] < note.ahead[1] ? note.ahead : []);
    unnamed = unite(unnamed, subtract(runs, named));
    ended = unite(ended, subtract(note.running, runs));
  }
  return { steps, unnamed, ended, running: rangesOfSpans(running) };
}
