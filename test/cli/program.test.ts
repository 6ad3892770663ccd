import t from "tap";
import { readCommandLine } from "../../src/cli/command_line.ts";
import { deadCommand, resumeCommand } from "../../src/cli/program.ts";

const table: readonly (readonly [string[], string])[] = [
  [["master", "posts.ts"], "taskmaster master posts.ts"],
  [["run", "posts.ts", "--reset", "--size", "5"], "taskmaster run posts.ts --size 5"],
  [["run", "posts.ts", "--reset=true"], "taskmaster run posts.ts"],
  [["run", "--reset", "true", "posts.ts"], "taskmaster run posts.ts"],
  [["run", "posts.ts", "q=a b", "--", "x=--reset"], "taskmaster run posts.ts 'q=a b' -- x=--reset"],
  [["run", "posts.ts", "--force", "--reset", "--size", "5"], "taskmaster run posts.ts --size 5"],
  [["run", "--force", "false", "posts.ts", "--force=true"], "taskmaster run posts.ts"],
  [["run", "posts.ts", "--", "x=--force", "--force"], "taskmaster run posts.ts -- x=--force --force"],
  [["run", "posts.ts", "--", "--reset"], "taskmaster run posts.ts -- --reset"],
];
for (const [argv, expected] of table) {
  t.test(`resumeCommand() of ${JSON.stringify(argv)}`, async (t) =>
    t.equal(resumeCommand(["taskmaster"], argv), expected));
}

const deadTable: readonly (readonly [string[], string])[] = [
  [["master", "posts.ts", "a=1", "--size", "5", "--reset"], "taskmaster dead posts.ts"],
  [
    ["run", "--key", "p", "--state-dir=/a b", "posts.ts:x"],
    "taskmaster dead posts.ts:x --key=p '--state-dir=/a b'",
  ],
  [["run", "--", "-x.ts"], "taskmaster dead ./-x.ts"],
];
for (const [argv, expected] of deadTable) {
  t.test(`deadCommand() of ${JSON.stringify(argv)}`, async (t) =>
    t.equal(deadCommand(["taskmaster"], readCommandLine(argv)), expected));
}
