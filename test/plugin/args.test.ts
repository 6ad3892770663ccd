import t from "tap";
import { argValues, identityArgs, refuseArgs } from "../../src/plugin/args.ts";
import { pickPlugin } from "../../src/plugin/shape.ts";
import type { ArgRows, ArgsOf, ArgTexts, Context } from "../../src/plugin/types.ts";

const args = {
  end: { type: "integer", required: true, help: "the last id" },
  table: { type: "choice", choices: ["users", "posts"], default: "users" },
  share: { type: "number" },
  dry: { type: "boolean", default: false, identity: false },
  maxRows: { type: "integer", default: 100, identity: false },
  note: {},
} as const satisfies ArgRows;

const loaded = { plugin: { args }, name: "p.ts", path: "/x/p.ts", exportName: "default" };

t.test("arguments are read as their types say, with their defaults", async (t) => {
  const values = argValues({ args }, { end: "5", table: "posts", share: "-1.5e3", dry: "true", note: "" });
  t.same(values, { end: 5, table: "posts", share: -1500, dry: true, maxRows: 100, note: "" });
  t.ok(Object.isFrozen(values), "one handler cannot change what the next is told");
  t.same(argValues({ args }, { end: "-05" }), {
    end: -5,
    table: "users",
    share: undefined,
    dry: false,
    maxRows: 100,
    note: undefined,
  });
  t.same(argValues({ args }, { end: "5", other: "x" }).other, undefined, "of another export");
  const texts = { end: "05", anything: "x" };
  t.equal(argValues({}, texts), texts, "without the export they are as they were typed");
});

const refused: readonly (readonly [ArgTexts, RegExp])[] = [
  [
    {},
    /^The argument end \(the last id\) is missing: write end=INTEGER behind the plugin\. See `taskmaster help \/x\/p\.ts`/,
  ],
  [{ ned: "5" }, /^The plugin p\.ts has no argument "ned"\. Did you mean end\? See .taskmaster help/],
  [{ end: "5", maxrow: "5" }, /no argument "maxrow"\. Did you mean maxRows\?/],
  [{ end: "5", constructor: "5" }, /no argument "constructor"\. See/],
  [{ end: "" }, /^The argument end takes an integer .*, not ""\./],
  [{ end: "5.0" }, /not "5\.0"/],
  [{ end: "1e3" }, /not "1e3"/],
  [{ end: "0x10" }, /not "0x10"/],
  [{ end: "9007199254740992" }, /not "9007199254740992"/],
  [{ end: "5", share: "half" }, /share takes a number, such as 0\.5, not "half"/],
  [{ end: "5", share: "1e999" }, /not "1e999"/],
  [{ end: "5", share: " 1" }, /not " 1"/],
  [{ end: "5", share: "Infinity" }, /not "Infinity"/],
  [{ end: "5", dry: "yes" }, /dry takes true or false, not "yes"/],
  [{ end: "5", table: "user" }, /table takes one of users, posts, not "user"\. Did you mean table=users\?/],
];
for (const [texts, message] of refused) {
  t.test(`a start with ${JSON.stringify(texts)} is refused`, async (t) => {
    t.throws(() => refuseArgs(loaded, texts), { name: "UsageError", exitCode: 2, message });
  });
}

t.test("without the export any arguments are taken", async () =>
  refuseArgs({ ...loaded, plugin: {} }, { x: "1" }));

t.test("an argument of a trial does not tell one run from another", async (t) => {
  const texts = { end: "5", dry: "true", note: "x" };
  t.same(identityArgs({ args }, texts), { end: "5", note: "x" });
  t.equal(identityArgs({}, texts), texts);
});

t.test("ctx.args has the types of the rows", async (t) => {
  const read = (
    { args }: Context<ArgsOf<typeof args2>>,
  ): [number, "a" | "b", boolean | undefined, string | undefined] => [
    args.end,
    args.kind,
    args.dry,
    args.note,
  ];
  const args2 = {
    end: { type: "integer", required: true },
    kind: { type: "choice", choices: ["a", "b"], default: "a" },
    dry: { type: "boolean" },
    note: {},
  } as const satisfies ArgRows;
  t.type(read, "function");
});

const wrong: readonly (readonly [unknown, RegExp])[] = [
  [[], /`args` is an array, not an object/],
  [{ end: 5 }, /`args\["end"\]` is a number, not an object such as/],
  [{ "the end": {} }, /`args\["the end"\]` is a name that cannot be typed/],
  [{ end: { typ: "integer" } }, /has a field `typ`, which means nothing: is `type` meant\?/],
  [
    { end: { type: "int" } },
    /has the type "int"; an argument is one of string, number, integer, boolean, choice/,
  ],
  [{ end: { type: "constructor" } }, /has the type "constructor"/],
  [{ end: { required: "yes" } }, /has `required`, which is a string, not a boolean/],
  [{ end: { identity: 0 } }, /has `identity`, which is a number, not a boolean/],
  [{ end: { type: "integer", default: "5" } }, /has a default that is not an integer/],
  [{ end: { type: "integer", default: 0.5 } }, /has a default that is not an integer/],
  [{ end: { default: 5 } }, /has a default that is not any text/],
  [{ end: { type: "integer", default: 5, required: true } }, /is required, and has a default all the same/],
  [{ end: { type: "choice" } }, /needs `type: "choice"` and `choices` together/],
  [{ end: { choices: ["a"] } }, /needs `type: "choice"` and `choices` together/],
  [{ end: { type: "choice", choices: [] } }, /has `choices` that are no array of texts/],
  [{ end: { type: "choice", choices: ["a"], default: "b" } }, /has a default that is not one of a/],
];
for (const [rows, message] of wrong) {
  t.test(`a plugin with args ${JSON.stringify(rows)} is refused`, async (t) => {
    const pick = () => pickPlugin({ getJobs: () => [], args: rows }, undefined, "master", "p.ts");
    t.throws(pick, { name: "PluginError", exitCode: 4, message });
  });
}
