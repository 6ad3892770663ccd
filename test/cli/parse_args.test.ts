import t from "tap";
import { parseArgs, type ParseOptions } from "@std/cli/parse-args";

// What the parser does to a command line, in the stand-in and in the original alike: with the original in its place
// this table must hold as it is.

const options: ParseOptions = {
  boolean: ["reset", "progress", "help"],
  string: ["key", "size", "tag", "k", "_"],
  collect: ["tag"],
  negatable: ["progress"],
  alias: { help: "h" },
  default: { progress: true },
};
const none = { reset: false, progress: true, help: false, h: false, tag: [] };

const table: readonly (readonly [what: string, argv: string[], expected: Record<string, unknown>])[] = [
  ["nothing", [], { _: [] }],
  ["words", ["run", "x.ts", "a=1"], { _: ["run", "x.ts", "a=1"] }],
  ["a word that looks like a number stays text", ["7", "0x10"], { _: ["7", "0x10"] }],
  ["a value behind its flag", ["--key", "posts"], { key: "posts", _: [] }],
  ["a value behind =", ["--key=posts"], { key: "posts", _: [] }],
  ["leading zeros", ["--key", "007"], { key: "007", _: [] }],
  ["leading zeros behind =", ["--key=007"], { key: "007", _: [] }],
  ["an empty value", ["--key="], { key: "", _: [] }],
  ["a value that holds =", ["--key=a=b"], { key: "a=b", _: [] }],
  ["a value of two lines", ["--key=a\nb"], { key: "a\nb", _: [] }],
  ["no value at the end", ["--key"], { key: "", _: [] }],
  ["no value before a flag", ["--key", "--reset"], { key: "", reset: true, _: [] }],
  ["a negative number is a flag of its own", ["--key", "-5"], { key: "", "5": true, _: [] }],
  ["a negative number behind =", ["--size=-5"], { size: "-5", _: [] }],
  ["a dash inside", ["--key", "a-b--c"], { key: "a-b--c", _: [] }],
  ["a switch", ["--reset"], { reset: true, _: [] }],
  ["a switch takes no word", ["--reset", "x.ts"], { reset: true, _: ["x.ts"] }],
  ["a switch takes true and false", ["--reset", "false"], { reset: false, _: [] }],
  ["a switch behind =", ["--reset=false"], { reset: false, _: [] }],
  ["any other text makes a switch true", ["--reset=no"], { reset: true, _: [] }],
  ["a negated switch", ["--no-progress"], { progress: false, _: [] }],
  ["what is not negatable keeps its no-", ["--no-reset"], { "no-reset": true, _: [] }],
  ["the last of a repeated flag counts", ["--key", "a", "--key", "b"], { key: "b", _: [] }],
  ["a collected flag keeps all", ["--tag", "a", "--tag=b"], { tag: ["a", "b"], _: [] }],
  ["a collected flag that stands once", ["--tag", "a"], { tag: ["a"], _: [] }],
  ["a short flag", ["-h"], { help: true, h: true, _: [] }],
  ["a long flag sets its alias", ["--help"], { help: true, h: true, _: [] }],
  ["a short flag with a value", ["-k", "v"], { k: "v", _: [] }],
  ["words behind -- are words", ["run", "--", "--key", "-h"], { _: ["run", "--key", "-h"] }],
  ["a flag that nobody knows", ["--odd", "3"], { odd: 3, _: [] }],
  ["one without a value", ["--odd"], { odd: true, _: [] }],
];

for (const [what, argv, expected] of table) {
  t.test(`parseArgs() reads ${what}: ${JSON.stringify(argv)}`, async (t) => {
    t.strictSame(plain(parseArgs(argv, options)), plain({ ...none, ...expected }));
  });
}

t.test("parseArgs() keeps the words behind -- apart if asked", async (t) => {
  t.strictSame(plain(parseArgs(["a", "--", "--b"], { "--": true })), { _: ["a"], "--": ["--b"] });
});

t.test("parseArgs() reads nothing behind the first word with stopEarly", async (t) => {
  const args = parseArgs(["--key", "v", "run", "--key=w", "-x"], { ...options, stopEarly: true });
  t.strictSame([args._, args["key"]], [["run", "--key=w", "-x"], "v"]);
});

t.test("parseArgs() asks about what it does not know, words included", async (t) => {
  const asked: unknown[] = [];
  const unknown = (arg: string, key?: string, value?: unknown) =>
    void asked.push(key === undefined ? [arg] : [arg, key, value]);
  parseArgs(["run", "--key", "k", "--odd=3", "--odder"], { ...options, unknown });
  t.same(asked.toSorted(), [["--odd=3", "odd", "3"], ["--odder", "odder", true], ["run"]].toSorted());
  const args = parseArgs(["a", "--odd=3", "-z"], { ...options, unknown: () => false });
  t.strictSame(plain(args), plain({ ...none, _: [] }), "and leaves out what is refused");
});

/** Without prototypes, which differ, and in one order. */
function plain(object: object): unknown {
  return JSON.parse(
    JSON.stringify(Object.fromEntries(Object.entries(object).toSorted(([a], [b]) => a < b ? -1 : 1))),
  );
}
