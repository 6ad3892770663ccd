// Looks for inputs that break what must hold: npm run fuzz -- --minutes 10
//   --target T   one target alone
//   --seed N     other mutants; drawn and printed if it is not given
//   --keep       adds to the corpus what reached new code
//   --replay     only runs the corpus, and prints what came of each input
// Each minute is shared by the targets. Runs under Bun and under Deno, guided by the coverage that the engine counts.
// A finding is written to the corpus, which is replayed by the gate: once mended, it stays so.
import { createHash } from "node:crypto";
import { parseArgs } from "node:util";
import { keep, keptInputs } from "./corpus.ts";
import { Coverage } from "./coverage.ts";
import { Failure, Fuzzer } from "./fuzzer.ts";
import type { Target } from "./target.ts";
import { targets } from "./targets/all.ts";

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "1" },
    target: { type: "string" },
    seed: { type: "string" },
    keep: { type: "boolean", default: false },
    replay: { type: "boolean", default: false },
  },
});
const chosen = targets.filter(({ name }) => values.target === undefined || name === values.target);
if (chosen.length === 0) {
  console.error(
    `There is no target "${values.target}": it is one of ${targets.map(({ name }) => name).join(", ")}.`,
  );
  process.exit(2);
}
const seed = Number(values.seed ?? Math.floor(Math.random() * 2 ** 31));
// Fixed for the seeds of the targets, so that all runtimes replay the same inputs.
const replaySeed = 1;

if (values.replay) {
  for (const target of chosen) await replay(target);
} else {
  console.log(`seed ${seed}`);
  const seconds = Number(values.minutes) * 60 / chosen.length;
  let failures = 0;
  for (const target of chosen) failures += await fuzz(target, seconds);
  process.exit(failures > 0 ? 1 : 0);
}

async function replay(target: Target): Promise<void> {
  const inputs = [...keptInputs(target.name).map(({ input }) => input), ...target.seeds(replaySeed)];
  for (const input of inputs) {
    const outcome = createHash("sha256").update(await target.check(input)).digest("hex").slice(0, 16);
    console.log(`${target.name} ${createHash("sha256").update(input).digest("hex").slice(0, 12)} ${outcome}`);
  }
}

/** Returns how many findings there were: one at most, for the next would be the same. */
async function fuzz(target: Target, seconds: number): Promise<number> {
  const coverage = await Coverage.start();
  const fuzzer = new Fuzzer(target, seed, coverage);
  const kept = keptInputs(target.name).map(({ input }) => input);
  const endMs = performance.now() + seconds * 1000;
  try {
    await fuzzer.load([...kept, ...target.seeds(seed)]);
    await fuzzer.runUntil(() => performance.now() > endMs);
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    const path = keep(
      target.name,
      error.input.length < 10_000 ? error.input : error.input.subarray(0, 10_000),
      "found-",
    );
    console.error(`${error.message}\nseed ${seed}; the input is in ${path}`);
    return 1;
  }
  const { executions, inputs, outcomes, dearest } = fuzzer;
  console.log(
    `${target.name}: ${executions} inputs, ${coverage.size} blocks, ${outcomes} outcomes, ${inputs.length} kept in memory; ` +
      `the dearest cost ${dearest.ms.toFixed(1)} ms, ${dearest.mib.toFixed(1)} MiB`,
  );
  if (values.keep) await keepBest(target, inputs);
  return 0;
}

/** The smallest inputs that reach together what all of them reach. */
async function keepBest(target: Target, inputs: readonly Uint8Array[]): Promise<void> {
  const coverage = await Coverage.start();
  await coverage.take();
  for (const input of [...inputs].sort((a, b) => a.length - b.length)) {
    await target.check(input);
    const fresh = await coverage.take();
    if (fresh.length > 0) keep(target.name, input);
    coverage.keep(fresh);
  }
}
