// How many jobs a second pass through the core alone: bun test/core/throughput.ts [jobs] [slaves]
import { createHash } from "node:crypto";
import { performance } from "node:perf_hooks";
import type { Block } from "../../src/lib/bytes.ts";
import { Run } from "../../src/core/run.ts";
import type { RunSettings } from "../../src/core/types.ts";

const jobs = Number(process.argv[2] ?? 20_000_000);
const slaves = Number(process.argv[3] ?? 4);
const batch = 500;

const settings: RunSettings = {
  masterId: "m",
  jobsMax: 10_000,
  bytesMax: 64 << 20,
  failuresMax: 3,
  backoffMs: 1000,
  heartbeatMs: 5000,
  graceMs: 30_000,
  reclaimMs: 0,
  timeoutMs: 0,
  maxOutageMs: Infinity,
  maxOutageAtEndMs: 300_000,
  random: () => 0.5,
  digest: (bytes) => createHash("sha256").update(bytes).digest(),
};

function blockOf(count: number): Block {
  const bytes = new Uint8Array(count * 6);
  const ends = new Uint32Array(count);
  for (let i = 0; i < count; i++) ends[i] = (i + 1) * 6;
  return { bytes, ends, cursors: null };
}

const run = new Run(settings, null, 0);
for (let session = 1; session <= slaves; session++) {
  run.apply({ kind: "joined", session, slaveId: `s${session}`, slaveName: "s", credit: batch, held: [] }, 0);
}
run.takeEffects();
const numbers = new Map<number, number>();
const startMs = performance.now();
let yielded = 0;
let nowMs = 0;
while (run.status(nowMs).settled < jobs) {
  nowMs += 1;
  while (run.demand().jobs >= batch && yielded < jobs) {
    run.apply({ kind: "yielded", block: blockOf(batch), moreAtHand: true }, nowMs);
    yielded += batch;
  }
  for (const effect of run.takeEffects()) {
    if (effect.kind !== "lease") continue;
    const { session, lease, parts } = effect;
    const number = (numbers.get(session) ?? 0) + 1;
    numbers.set(session, number);
    const done = [parts[0]!.seq, parts.at(-1)!.end];
    const answer = { lease, done, skipped: [], failed: [], crash: null, released: [] };
    run.apply({ kind: "heard", session }, nowMs);
    run.apply({ kind: "answered", session, number, answer, at: "" }, nowMs);
  }
  run.tick(nowMs);
  if (nowMs % 1000 === 0) run.apply({ kind: "saved", version: run.capture().version }, nowMs);
}
const seconds = (performance.now() - startMs) / 1000;
console.log(
  `${(jobs / seconds / 1e6).toFixed(1)} M jobs/s through apply() in batches of ${batch}, ${slaves} slaves`,
);
