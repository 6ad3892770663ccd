import t from "tap";
import { denoFlags, describeDenied, startWords, wordsBefore } from "../../src/lib/runtime.ts";

t.test("the words before the program's own are those that were typed", async (t) => {
  const line = ["deno", "run", "-A", "mod.ts", "run", "p.ts", "run"];
  t.same(wordsBefore(["run", "p.ts", "run"], line), ["deno", "run", "-A", "mod.ts"]);
  t.same(wordsBefore([], ["./taskmaster"]), ["./taskmaster"]);
  t.equal(wordsBefore(["run", "other.ts"], line), null, "somebody changed the title of the process");
  t.equal(wordsBefore(["run"], ["run"]), null);
  t.match(startWords(), [/node/], "of this process");
});

t.test("a child of Deno has the flags of its parent, but those that make something else of it", async (t) => {
  const table: readonly (readonly [string, string])[] = [
    ["deno run -A mod.ts", "-A"],
    ["deno mod.ts", ""],
    ["deno --allow-net=a:1 mod.ts", "--allow-net=a:1"],
    [
      "deno run --import-map x.json --unstable-sloppy-imports mod.ts",
      "--import-map x.json --unstable-sloppy-imports",
    ],
    ["deno --quiet run --v8-flags=--stack-size=900 mod.ts", "--quiet --v8-flags=--stack-size=900"],
    ["deno run --inspect-brk --watch=a --reload -r --coverage=x --cpu-prof -A mod.ts", "-A"],
  ];
  for (const [line, flags] of table) t.same(denoFlags(line.split(" ")).join(" "), flags, line);
});

t.test("where they are not known, a child is allowed what is allowed as a whole", async (t) => {
  t.same(denoFlags(null, () => true), ["-A"]);
  t.same(denoFlags(null, (name) => name === "net" || name === "read"), ["--allow-net", "--allow-read"]);
  t.same(denoFlags("deno test -A x.test.ts".split(" "), () => false), []);
});

t.test("what Deno did not allow is said with what to do, and safely", async (t) => {
  const error = Object.assign(
    new Error('Requires net access to "unix:\0x", run again with the --allow-net flag'),
    {
      name: "NotCapable",
    },
  );
  t.match(
    describeDenied(error),
    /Requires net access to "unix:\\x00x"\. Give it --allow-env .*--allow-write, or -A\.$/,
  );
  t.equal(describeDenied(new Error("no")), undefined);
  t.equal(describeDenied(null), undefined);
});
