import t from "tap";
import { resumeCommand } from "../../src/cli/program.ts";

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
