import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { type OwnFile, ownFileAt } from "../../src/lib/own_file.ts";
import { makeWatch } from "../../src/lib/watchdog.ts";
import { layNote, noteFileBytes, noteOffset, readNote } from "../../src/lib/worker_start.ts";
import { openNoteFile, StartNotes } from "../../src/worker/notes.ts";
import { bun } from "../kit/runtimes.ts";

const source = (name: string): string => JSON.stringify(new URL(`../../src/${name}`, import.meta.url).href);

function emptyFile(folder: string): OwnFile {
  const path = join(folder, "note");
  writeFileSync(path, new Uint8Array(noteFileBytes));
  return ownFileAt(path);
}

/** The number of the note in each of the two places. */
function numbersIn(path: string): number[] {
  const { buffer } = new Uint8Array(readFileSync(path));
  return [0, 1].map((which) => new Float64Array(buffer, noteOffset(which), 1)[0]!);
}

t.test("in mapped memory a note leaves the one before whole, and is in the file at once", async (t) => {
  const own = emptyFile(t.testdir()), { path } = own;
  const script = `
    import { layNote } from ${source("lib/worker_start.ts")};
    import { openNoteFile } from ${source("worker/notes.ts")};
    const file = openNoteFile(${JSON.stringify(own)});
    for (const number of [1, 2, 3]) file.write(layNote(number, [4, 5], [6, 7]));
    process.kill(process.pid, "SIGKILL");
  `;
  t.equal(spawnSync(bun, ["-e", script], { timeout: 20_000, killSignal: "SIGTERM" }).signal, "SIGKILL");
  t.same(readNote(readFileSync(path)), { number: 3, running: [4, 5], ahead: [6, 7], onStack: null });
  t.same(numbersIn(path).sort(), [2, 3]);
});

t.test("where nothing can be mapped a note is written", (t) => {
  const own = emptyFile(t.testdir()), { path } = own;
  const file = openNoteFile(own);
  for (const number of [1, 2]) file.write(layNote(number, [], [number, 9]));
  t.same(readNote(readFileSync(path)), { number: 2, running: [], ahead: [2, 9], onStack: null });
  t.end();
});

t.test("time without jobs does not make jobs look slow", (t) => {
  const notes = new StartNotes(emptyFile(t.testdir()), makeWatch());
  let next = 0;
  const coverAt = (ms: number): number => {
    const from = next;
    notes.cover([], from, from + 1, from + 10_000, ms);
    next = notes.coveredTo(from);
    return next - from;
  };
  let ms = 100;
  for (let note = 0; note < 5; note++) coverAt(ms += 0.001);
  const before = coverAt(ms += 0.001);
  t.ok(before > 100, `a note announces ${before} quick jobs`);
  notes.rest(ms += 0.2);
  notes.rest(ms + 40);
  t.ok(coverAt(ms += 50) >= before / 2, "and after a pause as many");
  t.equal(coverAt(ms += 1_000), 1, "if they were slow, one");
  t.end();
});
