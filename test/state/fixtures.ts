import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Attempt, type History, noCounts, type RunState, type Stranded } from "../../src/core/types.ts";
import { JobSpan, sha256 } from "../../src/lib/bytes.ts";
import type { Log } from "../../src/lib/log.ts";
import { encode } from "../../src/protocol/cbor.ts";
import { openState, type OpenStateOptions } from "../../src/state/store.ts";
import type { FakeDisk } from "./fake_disk.ts";

export const purpose = {
  plugin: "posts.ts",
  exportName: "default",
  args: { from: "2024", to: "2025" },
  pluginHash: sha256(Uint8Array.of(1)),
};

export const untouched: History = {
  failures: 0,
  crashes: 0,
  crashesInCompany: 0,
  lostSessions: 0,
  attempts: [],
};

export const attempt: Attempt = {
  how: "threw",
  message: "no such row",
  stack: "Error: no such row\n    at handleJob",
  slave: "web1",
  durationMs: 12.5,
  at: "2025-01-02T03:04:05.678Z",
};

/** A span of these jobs, numbered from `seq`. */
export function spanOf(seq: number, jobs: readonly unknown[]): JobSpan {
  const parts = jobs.map((job) => encode(job));
  const ends = new Uint32Array(parts.length);
  parts.reduce((end, part, index) => ends[index] = end + part.length, 0);
  return new JobSpan(
    { bytes: new Uint8Array(Buffer.concat(parts)), ends, cursors: null },
    0,
    jobs.length,
    seq,
  );
}

/** A state whose numbers add up; `done` tells one from another. */
export function stateOf(done: number, stranded: readonly Stranded[] = []): RunState {
  const jobs = stranded.reduce((sum, { span }) => sum + span.count, 0);
  const cursor = encode({ id: done });
  return {
    ...noCounts,
    handedOut: done + jobs,
    done,
    againToCome: 0,
    last: { cursor, jobHash: sha256(cursor) },
    firstJobHash: sha256(Uint8Array.of(7)),
    complete: false,
    final: true,
    settings: new Map(),
    stranded,
  };
}

export const someStranded: Stranded = {
  span: spanOf(5, [{ id: 5 }, { id: 6 }]),
  history: { failures: 1, crashes: 2, crashesInCompany: 3, lostSessions: 1, attempts: [attempt] },
  lease: { name: { masterId: "m1", number: 2 ** 40 }, slaveId: "s1" },
};

/** A state in which every field says something, and there is more than one piece of stranded jobs. */
export function fullState(): RunState {
  const stranded = Array.from({ length: 300 }, (_, index): Stranded => ({
    span: spanOf(100 + 3 * index, [{ id: index }, `job ${index}`].slice(index % 2)),
    history: index % 3 === 0 ? untouched : { ...someStranded.history, failures: index, crashes: index % 7 },
    lease: index % 5 === 0 ? null : { name: { masterId: `m${index % 4}`, number: index }, slaveId: "s1" },
  }));
  return {
    ...stateOf(1_000, [someStranded, ...stranded]),
    handedOut: 1_000 + 30 + 4 + stranded.reduce((sum, { span }) => sum + span.count, 2),
    handedOutAgain: 11,
    againToCome: 2 ** 33,
    skipped: 30,
    dead: 4,
    repeated: 2 ** 40,
    repeatedAtLeast: true,
    final: false,
    settings: new Map<string, string | number | boolean | null>([
      ["rate", 12.5],
      ["paused", true],
      ["constructor", "x"],
      ["of:a.later-version", null],
    ]),
  };
}

/** A folder that is gone when the test ends. */
export function folder(t: { teardown(done: () => void): unknown }): string {
  const dir = mkdtempSync(join(tmpdir(), "taskmaster-state-"));
  t.teardown(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

export type Said = { level: string; message: string }[];

/** A log, and what was said to it. */
export function listen(): { log: Log; said: Said } {
  const said: Said = [];
  return { log: (level, message) => void said.push({ level, message }), said };
}

export function optionsFor(dir: string, changed: Partial<OpenStateOptions> = {}): OpenStateOptions {
  return {
    dir,
    key: "posts",
    identity: purpose,
    newRunId: () => "run-1",
    reset: false,
    force: false,
    log: () => {},
    watchMs: 300,
    ...changed,
  };
}

export const open = (dir: string, changed: Partial<OpenStateOptions> = {}) =>
  openState(optionsFor(dir, changed));

/** On a disk in memory, in the folder `/d`. */
export const openFake = (fake: FakeDisk, changed: Partial<OpenStateOptions> = {}) =>
  openState(optionsFor("/d", { disk: fake.disk, ...changed }));
