import t from "tap";
import { mutants } from "./mutants.ts";
import { tryMutant } from "./try_mutant.ts";

/** Enough for each mutant, with room: the rarest of them fails within some 150 seeds. */
const seeds = 400;
const limitMs = 120_000;
t.setTimeout(300_000);

t.test("the simulation holds for the copy that nothing was changed in", async (t) => {
  const { code, output } = await tryMutant({ name: "none", patches: [] }, seeds, limitMs);
  t.equal(code, 0, output.slice(-2_000));
  t.match(output, /hold/);
});

for (const mutant of mutants) {
  t.test(`the simulation fails for: ${mutant.name}`, async (t) => {
    const { code, output } = await tryMutant(mutant, seeds, limitMs);
    t.equal(code, 1, "it ends by itself");
    t.match(output, /seed \d+:[^]*(I\d+|C8|sum): /, "it names the seed and the invariant");
  });
}
