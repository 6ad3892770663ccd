import t from "tap";
import { UsageError } from "../../src/lib/errors.ts";
import { readCommandLine } from "../../src/cli/command_line.ts";

t.test("readCommandLine() finds the command, its words and its flags", async (t) => {
  t.same(readCommandLine(["run", "x.ts", "a=1", "--size", "5", "--reset"]), {
    command: "run",
    words: ["x.ts", "a=1"],
    flags: { size: "5", reset: true },
  });
  t.same(readCommandLine(["--size=5", "run", "x.ts"]).flags, { size: "5" }, "flags may stand before");
  t.same(readCommandLine(["run", "x.ts", "--reset=false"]).flags, { reset: false });
  t.same(readCommandLine(["run", "x.ts", "--key", "007"]).flags, { key: "007" }, "text stays text");
  t.same(readCommandLine(["run", "x.ts", "--", "a=--reset"]).words, ["x.ts", "a=--reset"]);
  t.same(readCommandLine(["run", "x.ts", "--", "--reset"]).flags, {}, "behind -- there are no flags");
});

const helps: readonly (readonly [string[], string, string[]])[] = [
  [[], "help", []],
  [["-h"], "help", []],
  [["--help"], "help", []],
  [["help"], "help", []],
  [["help", "run"], "help", ["run"]],
  [["run", "--help"], "help", ["run"]],
  [["run", "x.ts", "-h"], "help", ["run"]],
  [["--version"], "version", []],
  [["-V"], "version", []],
  [["version"], "version", []],
];
for (const [argv, command, words] of helps) {
  t.test(`readCommandLine() takes ${JSON.stringify(argv)} for ${command}`, async (t) => {
    t.same(readCommandLine(argv), { command, words, flags: {} });
  });
}

const refused: readonly (readonly [string[], RegExp])[] = [
  [["rnu"], /no command "rnu".*taskmaster run/],
  [["satte", "x"], /no command "satte".*taskmaster state/],
  [["xyzzyplugh"], /^There is no command "xyzzyplugh"\. See/],
  [["plugins/posts.ts"], /taskmaster run plugins\/posts\.ts/],
  [["posts.ts:iterPosts"], /taskmaster run posts\.ts:iterPosts/],
  [["\u001b[31m"], /"\\e\[31m"/],
  [["constructor"], /no command "constructor"/],
  [["run", "x.ts", "--sise", "3"], /no option --sise.*--size\b/],
  [["run", "x.ts", "--sise=3"], /no option --sise\..*--size\b/],
  [["run", "x.ts", "--zzzzzz"], /no option --zzzzzz\. See `taskmaster help run`/],
  [["run", "x.ts", "-p", "4"], /no option -p/],
  [["--hlep"], /no option --hlep.*--help/],
  [["run", "x.ts", "--size"], /--size needs a value, such as --size=10000/],
  [["run", "x.ts", "--size="], /--size needs a value/],
  [["run", "x.ts", "--size", "--reset"], /--size needs a value/],
  [["run", "x.ts", "--size", "-5"], /--size needs a value.*"="/],
  [["slave", "x.ts", "--size", "5"], /--size is not an option of `taskmaster slave`, but of run, master/],
  [["token", "--reset"], /--reset is not an option of `taskmaster token`/],
  [["run", "x.ts", "--reset=maybe"], /--reset is a switch/],
  [["run", "x.ts", "--no-reset"], /no option --no-reset/],
  [["run", "x.ts", "--token", "s3cret"], /no option --token/],
  [["--size", "5"], /No command was given/],
];
for (const [argv, message] of refused) {
  t.test(`readCommandLine() refuses ${JSON.stringify(argv)}`, async (t) => {
    t.throws(() => readCommandLine(argv), { name: "UsageError", message });
    t.throws(() => readCommandLine(argv), UsageError);
  });
}
