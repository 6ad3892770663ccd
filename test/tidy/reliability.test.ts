import t from "tap";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../kit/runtimes.ts";

// docs/reliability.md promises a test for each fault. This keeps it true.

const read = (file: string) => readFileSync(join(root, file), "utf8");
const document = read("docs/reliability.md");

/** The faults this program was built for. */
const faults = Object.entries({ A: 22, B: 17, C: 18, D: 7, E: 9 }).flatMap(([table, rows]) =>
  Array.from({ length: rows }, (_, row) => `${table}${row + 1}`)
).concat(
  "B18",
  "B19",
  "B21",
  "A22a",
  "A23",
  "A24",
  "A25",
  "A26",
  "A27",
  "A28",
  "A29",
  "A30",
  "A31",
  "A32",
  "C15a",
  "C21",
  "C22",
  "E10",
  "E11",
  "E12",
  "E13",
  "E14",
  "E15",
  "E16",
  "E17",
  "E18",
);

type Row = { name: string; shownBy: string };

/** Rows of all tables whose last column says what shows them. */
const rows: Row[] = document.split("\n").filter((line) => line.startsWith("| ")).map((line) => {
  const cells = line.split(/(?<!\\)\|/).slice(1, -1).map((cell) => cell.trim());
  return { name: cells[0]!, shownBy: cells.at(-1)! || cells.at(-2)! };
}).filter(({ name, shownBy }) => name !== "#" && name !== "---" && shownBy !== "shown by");

/** Tests that a row cites: a file in backticks, and behind it beginnings of names in quotes. */
function citationsOf({ shownBy }: Row): { file: string; name: string }[] {
  let file = "";
  const found: { file: string; name: string }[] = [];
  for (const [, cited, name] of shownBy.matchAll(/`([\w/]+)`|"([^"]+)"/g)) {
    if (name !== undefined) found.push({ file, name });
    else file = join("test", cited!.includes("/") ? "" : "e2e", `${cited}.test.ts`);
  }
  return found;
}

function testNamesIn(file: string): string[] {
  return [...read(file).matchAll(/\b(?:t\.test|row|row\.long)\(\s*(["`])([^]*?)\1/g)].map(([, , name]) =>
    name!
  );
}

t.test("every fault has its row, once, in order", async (t) => {
  const named = rows.map(({ name }) => name).filter((name) => /^[A-E]\d/.test(name));
  t.same([...named].sort(), [...faults].sort());
});

t.test("every row says which test shows it, or why none does", async (t) => {
  for (const row of rows) {
    if (citationsOf(row).length === 0 && !/not shown:/.test(row.shownBy)) {
      t.fail(`${row.name}: ${row.shownBy}`);
    }
  }
});

t.test("the tests that it names are there", async (t) => {
  const citations = rows.flatMap((row) => citationsOf(row));
  t.ok(citations.length >= faults.length, "the document was read");
  for (const { file, name } of citations) {
    if (!existsSync(join(root, file))) t.fail(`${file} is not there`);
    else if (!testNamesIn(file).some((test) => test.startsWith(name))) {
      t.fail(`${file} has no test "${name}"`);
    }
  }
});

t.test("the chaos scenarios that it names are there", async (t) => {
  for (const [, scenario] of document.matchAll(/npm run chaos -- ([\w-]+)/g)) {
    t.match(read("test/chaos/scenarios.ts"), `name: "${scenario}"`);
  }
});
