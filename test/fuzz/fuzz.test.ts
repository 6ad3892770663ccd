import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import t from "tap";
import { root } from "../kit/runtimes.ts";
import { bombs } from "./bombs.ts";
import { keptInputs } from "./corpus.ts";
import { costOf, costsOfBombs, excess, inputBytesMax } from "./cost.ts";
import { Fuzzer } from "./fuzzer.ts";
import { targets } from "./targets/all.ts";

// The part of the fuzzing that is the same every time; the rest is `npm run fuzz -- --minutes 10`.

/** The seed of all that is drawn, and mutants of each target. */
const seed = 1, mutants = 600;
const run = promisify(execFile);

for (const target of targets) {
  t.test(`${target.name}: the corpus, and ${mutants} mutants of it`, async (t) => {
    const fuzzer = new Fuzzer(target, seed);
    const kept = keptInputs(target.name);
    t.ok(kept.length > 0, "there is a corpus");
    for (const { name, input } of kept) {
      await fuzzer.load([input]).catch((error) => t.fail(`corpus/${target.name}/${name}: ${error.message}`));
    }
    await fuzzer.load(target.seeds(seed));
    await fuzzer.runCount(mutants).catch((error) => {
      t.fail(`${error.message}\n${Buffer.from(error.input ?? []).toString("hex")}`);
    });
    t.ok(fuzzer.outcomes > 3, "they come out in different ways");
  });
}

t.test("no bomb costs more than 100 ms or 32 MiB", async (t) => {
  const costs = costsOfBombs();
  if (costs === null) return void t.comment("this system does not tell the peak of a process");
  bombs.forEach(({ target, what, input }, index) => {
    const bytes = input();
    t.ok(bytes.length <= inputBytesMax + 100, what);
    // Measured once more, alone, before it is called dear.
    const fault = excess(costs[index]!) && excess(costOf(target, bytes)!);
    if (fault !== null) t.fail(`${target}, ${what}: ${fault}`);
  });
});

t.test("the same input has the same outcome in every runtime", async (t) => {
  const main = join(root, "test", "fuzz", "main.ts");
  const outcomes = await Promise.all(
    [["bun"], ["deno", "run", "-A", "--no-check"]].map(async ([runtime, ...words]) => {
      const command = join(root, "node_modules/.bin", runtime!);
      const { stdout } = await run(command, [...words, main, "--replay"], {
        timeout: 60_000,
        maxBuffer: 1 << 24,
      });
      return stdout.trim().split("\n");
    }),
  );
  t.ok(outcomes[0]!.length > 500);
  t.same(outcomes[0], outcomes[1]);
});
