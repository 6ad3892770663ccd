import t from "tap";
import { isQuick, type Mutant } from "./mutant.ts";
import { mutants } from "./mutants.ts";
import { eachOf, type Trial, tryMutant, tryUnchanged } from "./try_mutants.ts";
import { TypeErrors } from "./type_errors.ts";

// two and a half minutes on a quiet machine
t.setTimeout(900_000);

/** For two cores, where tap runs one other file beside this one. */
const atOnce = 2;
const checksOf = ({ checks }: Mutant) => checks.filter(isQuick);

t.test("every mutant applies, has a name of its own, and breaks no types", async (t) => {
  const typeErrors = new TypeErrors();
  for (const { name, patches } of mutants) t.same(typeErrors.of(patches), [], name);
  t.equal(new Set(mutants.map(({ name }) => name)).size, mutants.length);
  t.not(
    typeErrors.of([{ file: "mod.ts", find: "import { mainProcess }", replace: "import { nothing }" }]).length,
    0,
    "errors are seen",
  );
});

t.test("the checks hold for the source as it is", async (t) => {
  t.same(await tryUnchanged(mutants.flatMap(checksOf), atOnce), []);
});

t.test("every mutant that can be tried quickly is caught", async (t) => {
  await eachOf(mutants, atOnce, async (mutant) => {
    for (const trial of await tryMutant(mutant, checksOf(mutant))) t.ok(...judged(mutant, trial));
  });
});

function judged({ name }: Mutant, { verdict }: Trial): [boolean, string] {
  if (verdict instanceof Error) return [false, `${name}: ${verdict.message}`];
  return [verdict.failed !== null, `${name}: ${verdict.failed ?? "not caught"}`];
}
