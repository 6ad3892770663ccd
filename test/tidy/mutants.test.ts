import t from "tap";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { root } from "../kit/runtimes.ts";
import { mutants } from "../mutants/mutants.ts";

// What is cheap to say of mutants, so that a change that moves a line is told at once; test/mutants runs them.

const read = (file: string) => existsSync(join(root, file)) ? readFileSync(join(root, file), "utf8") : "";

t.test("each patch finds its line, once", async (t) => {
  for (const { name, patches } of mutants) {
    for (const { file, find } of patches) {
      const found = read(file).split(find).length - 1;
      if (found !== 1) t.fail(`${name}: ${file} has ${found} times ${JSON.stringify(find)}`);
    }
  }
  t.ok(mutants.length > 100, "mutants were read");
});

t.test("each test that is to catch a mutant is there", async (t) => {
  for (const { name, checks } of mutants) {
    for (const check of checks) {
      if (check.kind !== "test") continue;
      // a name may be made of parts: of a table's row, or with a number in it
      const isThere = namesIn(withImports(check.file)).some((pattern) => pattern.test(check.name));
      if (!isThere) t.fail(`${name}: ${check.file} has no test "${check.name}"`);
    }
  }
});

/** A file, and those of its folder that it imports: a table of cases may be in one of these. */
function withImports(file: string): string {
  const source = read(file);
  const names = [...source.matchAll(/from "\.\/([\w.]+)"/g)].map(([, name]) => join(dirname(file), name!));
  return [source, ...names.map(read)].join("\n");
}

/** What tests and rows of tables are called, as patterns: anything may stand where a template has a hole. */
function namesIn(source: string): RegExp[] {
  return [...source.matchAll(/"((?:[^"\\\n]|\\.)+)"|`([^`]+)`/g)].map(([, plain, template]) => {
    const text = plain?.replaceAll(/\\(.)/g, "$1") ?? template!;
    const parts = text.split(/\$\{[^}]*\}/).map((part) => part.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&"));
    return parts.join("").length < 8 ? /(?!)/ : new RegExp(`^${parts.join(".*")}$`);
  });
}
