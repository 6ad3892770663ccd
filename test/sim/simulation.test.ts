import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import t from "tap";
import { root } from "../kit/runtimes.ts";
import { Simulation } from "./simulation.ts";

/** Seeds in the gate; more by `bun test/sim/main.ts --seeds 100000`. */
const seeds = 2_000;
/** Seeds whose traces are compared between runtimes. */
const traceSeeds = [1, 2, 3, 4, 5];
const run = promisify(execFile);

function failureOf(seed: number): string | null {
  try {
    new Simulation(seed).run();
    return null;
  } catch (error) {
    return `seed ${seed}: ${error}\nbun test/sim/main.ts --seeds 1 --from ${seed} shows the trace`;
  }
}

t.test("seeds that once failed hold", async (t) => {
  const lines = readFileSync(new URL("seeds.txt", import.meta.url), "utf8").split("\n");
  const known = lines.filter((line) => /^\d/.test(line)).map((line) => Number.parseInt(line));
  t.ok(known.length > 0);
  for (const seed of known) t.equal(failureOf(seed), null, `seed ${seed}`);
});

t.test(`${seeds} seeds hold`, async (t) => {
  let failures = 0;
  for (let seed = 10_000; seed < 10_000 + seeds && failures < 3; seed++) {
    const failure = failureOf(seed);
    if (failure === null) continue;
    failures++;
    t.fail(failure);
  }
  t.equal(failures, 0);
});

t.test("the same seed gives the same trace in every runtime", async (t) => {
  const hashes = traceSeeds.map((seed) => new Simulation(seed).run().hash);
  t.same(hashes, traceSeeds.map((seed) => new Simulation(seed).run().hash), "twice in one process");
  for (const [runtime, ...words] of [["bun"], ["deno", "run", "-A", "--no-check"]]) {
    const command = join(root, "node_modules/.bin", runtime!);
    const main = join(root, "test/sim/main.ts");
    const options = ["--from", String(traceSeeds[0]), "--seeds", String(traceSeeds.length), "--hashes"];
    const { stdout } = await run(command, [...words, main, ...options], { timeout: 60_000 });
    t.same(stdout.trim().split("\n"), hashes, runtime!);
  }
});
