import t from "tap";
import { suggest } from "../../src/lib/text.ts";

const known = ["run", "master", "slave", "state", "status-interval", "size", "grace"];
const table: readonly (readonly [string, string | undefined])[] = [
  ["rnu", "run"],
  ["matser", "master"],
  ["Slave", "slave"],
  ["stat", "state"],
  ["status", "state"],
  ["status-intervall", "status-interval"],
  ["mast", "master"],
  ["sizes", "size"],
  ["rate", undefined],
  ["hosts", undefined],
  ["x", undefined],
  ["r", undefined],
  ["frobnicate", undefined],
  ["", undefined],
];
for (const [typed, expected] of table) {
  t.test(`suggest() takes "${typed}" for ${expected ?? "nothing"}`, async (t) =>
    t.equal(suggest(typed, known), expected));
}

t.test("suggest() does not compare a word of a megabyte with all that it knows", async (t) => {
  const startMs = performance.now();
  t.equal(suggest("status".repeat(200_000), known), undefined);
  t.ok(performance.now() - startMs < 50);
});
