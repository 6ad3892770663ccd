import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { commandNames, commands } from "../../../src/cli/commands.ts";
import { commandHelp, generalHelp, helpColumns } from "../../../src/cli/commands/help.ts";
import { jsonEvents } from "../../../src/observe/ndjson.ts";
import { isClient, optionRows, optionsOf } from "../../../src/cli/options.ts";

const texts: readonly (readonly [string, (columns: number) => string])[] = [
  ["help", (columns) => generalHelp(commands, columns)],
  ...commandNames.map((name) =>
    [`help ${name}`, (columns: number) => commandHelp(commands, name, columns)] as const
  ),
];

/** The words of a help, however it is laid out; sorted, for a comment may stand above its command or behind it. */
function wordsOf(text: string): string[] {
  return text.split(/\s+/).filter((word) => !["", "#", "$", "\\"].includes(word)).sort();
}

for (const [name, help] of texts) {
  t.test(`${name} fits into any number of columns, and breaks no word`, async (t) => {
    const whole = wordsOf(help(1_000));
    for (let columns = 10; columns <= 120; columns++) {
      const text = help(columns);
      t.same(wordsOf(text), whole, `${columns} columns: every word is whole`);
      const tooLong = text.split("\n").filter((line) =>
        line.length > columns && line.replace(/^ *(?:[$#] )?| \\$/g, "").includes(" ") &&
        !/^ {2}\$ taskmaster \S+(?: \\)?$/.test(line)
      );
      t.same(tooLong, [], `${columns} columns: no line of several words is longer`);
    }
  });
}

t.test("a command that is cut into lines is still one command", async (t) => {
  const lines = commandHelp(commands, "master", 80).split("\n");
  const first = lines.findIndex((line) => line.includes("--tls-cert taskmaster-cert.pem"));
  t.match(lines[first], / \\$/);
  t.match(lines[first + 1], /^ {6}--tls-key taskmaster-key\.pem$/);
});

for (const command of commandNames) {
  t.test(`help ${command} speaks of no option that it lacks`, async (t) => {
    const own = optionsOf(command).map(([name]) => name);
    const named = commandHelp(commands, command, 80).match(/(?<![\w-])--[a-z][a-z-]*/g) ?? [];
    const foreign = named.map((name) => name.slice(2)).filter((name) => !(own as string[]).includes(name));
    t.same(foreign.filter((name) => name !== "help" && name !== "version"), []);
    const kinds = optionRows.filter(([name]) => own.includes(name)).map(([, { kind }]) => kind);
    const text = commandHelp(commands, command, 80);
    t.equal(text.includes("Durations:"), kinds.includes("duration"));
    t.equal(text.includes("Sizes:"), kinds.includes("size"));
    t.equal(/TASKMASTER_(?:HOST|LISTEN)\b/.test(text), command === "master" || isClient(command));
  });
}

t.test("helpColumns() goes by the terminal, and by 80 where there is none", async (t) => {
  t.equal(helpColumns({ isTTY: true, columns: 60 }), 60);
  t.equal(helpColumns({ isTTY: true, columns: 300 }), 100, "longer lines are hard to read");
  t.equal(helpColumns({ isTTY: true, columns: 0 }), 80);
  t.equal(helpColumns({ columns: 60 }), 80, "a pipe");
});

t.test("help names no event that the source does not write", async (t) => {
  const root = join(import.meta.dirname!, "../../../src");
  const sources = readdirSync(root, { recursive: true, encoding: "utf8" }).filter((name) =>
    name.endsWith(".ts")
  );
  const written = sources.flatMap((name) =>
    [...readFileSync(join(root, name), "utf8").matchAll(/\bevent: "(\w+)"/g)].map((match) => match[1]!)
  );
  t.same(new Set(written), new Set(Object.values(jsonEvents).flatMap((names) => Object.keys(names))));
});
