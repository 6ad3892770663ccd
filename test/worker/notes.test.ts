import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { type OwnFile, ownFileAt } from "../../src/lib/own_file.ts";
import { makeWatch } from "../../src/lib/watchdog.ts";
import { headOffset, noteFileBytes, placesMax } from "../../src/lib/worker_start.ts";
import { StartNotes } from "../../src/worker/notes.ts";
import { bun } from "../kit/runtimes.ts";
import { readNoteAt, type Walk, walkNotes } from "./notes_walk.ts";

const source = (name: string): string => JSON.stringify(new URL(name, import.meta.url).href);

function emptyFile(folder: string): OwnFile {
  const path = join(folder, "note");
  writeFileSync(path, new Uint8Array(noteFileBytes));
  return ownFileAt(path);
}

/** Runs this in Bun, where the file is mapped, with `own` for the file; returns what it printed before it was killed. */
function inBun(own: OwnFile, script: string): string {
  const program = `
    import { makeWatch } from ${source("../../src/lib/watchdog.ts")};
    import { StartNotes } from ${source("../../src/worker/notes.ts")};
    import { walkNotes } from ${source("./notes_walk.ts")};
    const own = ${JSON.stringify(own)};
    ${script}
    process.kill(process.pid, "SIGKILL");
  `;
  const { signal, stdout, stderr } = spawnSync(bun, ["-e", program], {
    timeout: 20_000,
    killSignal: "SIGTERM",
    encoding: "utf8",
  });
  t.equal(signal, "SIGKILL", stderr);
  return stdout;
}

/** The number of the note in each of the two heads. */
function numbersIn(path: string): number[] {
  const { buffer } = new Uint8Array(readFileSync(path));
  return [0, 1].map((which) => new Float64Array(buffer, headOffset(which), 1)[0]!);
}

t.test("in mapped memory a note leaves the one before whole, and is in the file at once", async (t) => {
  const own = emptyFile(t.testdir());
  inBun(
    own,
    `
    const notes = new StartNotes(own, makeWatch());
    notes.cover(3, 5, 5, 1);
    notes.hold(3, 5);
    notes.cover(5, 6, 6, 2);
    notes.cover(6, 7, 7, 3);
  `,
  );
  t.same(readNoteAt(own.path), { number: 3, running: [3, 5], ahead: [6, 7], onStack: null });
  t.same(numbersIn(own.path).sort(), [2, 3]);
});

t.test("in mapped memory exactly those are named that run, whenever the worker is killed", async (t) => {
  for (const [seed, callsMax] of [[1, 3], [2, 40], [3, 400]] as const) {
    const own = emptyFile(t.testdir());
    const script = `
      const walk = walkNotes(own, ${seed}, 2_000, ${callsMax});
      require("node:fs").writeSync(1, JSON.stringify(walk));
    `;
    const walk = JSON.parse(inBun(own, script)) as Walk;
    t.same([walk.steps, walk.unnamed, walk.ended], [2_000, [], []], `at most ${callsMax} calls`);
    t.not(walk.running.length, 0);
    t.same(readNoteAt(own.path)!.running, walk.running, "after its death");
  }
});

t.test("where nothing can be mapped a note is written, and whoever runs is named all the same", (t) => {
  for (const [seed, callsMax] of [[1, 3], [2, 40], [3, 400]] as const) {
    const walk = walkNotes(emptyFile(t.testdir()), seed, 2_000, callsMax);
    t.same(walk.unnamed, [], `at most ${callsMax} calls`);
    t.not(walk.ended.length, 0, "who ended is named until the next note");
  }
  const own = emptyFile(t.testdir());
  const notes = new StartNotes(own, makeWatch());
  notes.cover(0, 2, 2, 1);
  const places = [notes.hold(0, 1), notes.hold(1, 2)];
  notes.free(places[0]!);
  notes.settle(2);
  t.same(readNoteAt(own.path), { number: 2, running: [1, 2], ahead: [2, 2], onStack: null });
  t.end();
});

t.test("of more calls than there are places each is named, and others may be", (t) => {
  const own = emptyFile(t.testdir());
  const notes = new StartNotes(own, makeWatch());
  const calls = placesMax + 3;
  notes.cover(0, 2 * calls, 2 * calls, 1);
  const places = Array.from({ length: calls }, (_, call) => notes.hold(2 * call, 2 * call + 1));
  notes.settle(2);
  const { running } = readNoteAt(own.path)!;
  t.same(running.slice(0, 4), [0, 1, 2, 3]);
  t.same(running.slice(-4), [2 * placesMax - 2, 2 * placesMax - 1, 2 * placesMax, 2 * calls - 1]);
  for (const place of places.slice(1)) notes.free(place);
  notes.settle(3);
  t.same(readNoteAt(own.path)!.running, [0, 1]);
  t.end();
});

t.test("as a worker ends, who is to blame is named and nobody else", (t) => {
  for (
    const [calls, blamed, named] of [
      [5, [1, 2, 3, 5], [1, 2, 3, 5]],
      [5, [], []],
      [placesMax - 1, [1, 2, 3, 5], [1, 2, 3, 5]],
      [placesMax + 9, [1, 2, 3, 5], [1, 5]],
    ] as const
  ) {
    const own = emptyFile(t.testdir());
    const notes = new StartNotes(own, makeWatch());
    notes.cover(0, calls, calls + 100, 1);
    const places = Array.from({ length: calls }, (_, seq) => notes.hold(seq, seq + 1));
    notes.free(places[4]!);
    notes.nameOnly(blamed);
    t.same(readNoteAt(own.path)!.running, named, `${blamed} of ${calls}`);
    t.ok(notes.isExact);
  }
  t.end();
});

t.test("time without jobs does not make jobs look slow", (t) => {
  const notes = new StartNotes(emptyFile(t.testdir()), makeWatch());
  let next = 0;
  const coverAt = (ms: number): number => {
    const from = next;
    notes.cover(from, from + 1, from + 10_000, ms);
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
