import t from "tap";
import ts from "typescript";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { root } from "../kit/runtimes.ts";

// The rules of docs/architecture.md that no other tool checks.

/** Folders by level, lowest first. Folders of one level do not know each other. */
const levels = [
  ["lib"],
  ["protocol"],
  ["core"],
  ["link", "state", "plugin"],
  ["observe"],
  ["control"],
  ["master", "slave", "worker"],
  ["terminal"],
  ["cli"],
];
const fileLinesMax = 600;
const folderFilesMax = 18;
/** A file of so few lines with one importer belongs into that one, unless it is listed with a reason. */
const smallLines = 25;
const small: Readonly<Record<string, string>> = {
  "src/cli/binary.ts": "where the compiled binary begins; nothing imports it",
};
const functionLinesMax = 70;

const sources = readdirSync(join(root, "src"), { recursive: true, encoding: "utf8" })
  .filter((name) => name.endsWith(".ts")).map((name) => join("src", name)).sort();
const read = (file: string) => readFileSync(join(root, file), "utf8");

/** The files of the project that a file imports, types included. */
function importsOf(file: string): string[] {
  const found = [...read(file).matchAll(/^\s*(?:import|export)\b[^"';]*?\bfrom\s+"(\.[^"]+)"/gm)].map((
    match,
  ) => match[1]!);
  const lazy = [...read(file).matchAll(/\bimport\("(\.[^"]+)"\)/g)].map((match) => match[1]!);
  return [...found, ...lazy].map((name) => relative(root, resolve(root, dirname(file), name)));
}

function levelOf(file: string): number {
  return levels.findIndex((folders) => folders.includes(file.split("/")[1]!));
}

t.test("every source file stands in a folder that has a level", async (t) => {
  t.ok(sources.length > 40, "the walk found the sources");
  t.same(sources.filter((file) => levelOf(file) < 0), []);
});

t.test("a file imports only from its own folder and from lower levels", async (t) => {
  for (const file of sources) {
    for (const imported of importsOf(file)) {
      const isOwn = dirname(file).split("/")[1] === imported.split("/")[1];
      if (!isOwn && levelOf(imported) >= levelOf(file)) t.fail(`${file} imports ${imported}`);
    }
  }
});

/** What other folders import of one that has doors. */
const doors: Readonly<Record<string, readonly string[]>> = {
  "src/state": ["store.ts", "disk.ts"],
};

t.test("a folder with doors is entered by them, and each is used", async (t) => {
  for (const [folder, names] of Object.entries(doors)) {
    const used = new Set<string>();
    for (const file of sources.filter((file) => dirname(file) !== folder)) {
      for (const imported of importsOf(file).filter((imported) => dirname(imported) === folder)) {
        used.add(imported.split("/").at(-1)!);
        if (!names.some((name) => join(folder, name) === imported)) t.fail(`${file} imports ${imported}`);
      }
    }
    t.same([...used].sort(), [...names].sort());
  }
});

t.test("there are no cycles", async (t) => {
  const done = new Set<string>();
  const visit = (file: string, path: readonly string[]): void => {
    if (path.includes(file)) return void t.fail([...path.slice(path.indexOf(file)), file].join(" -> "));
    if (done.has(file)) return;
    for (const imported of importsOf(file)) visit(imported, [...path, file]);
    done.add(file);
  };
  for (const file of sources) visit(file, []);
});

t.test("files and functions stay small, names are snake_case", async (t) => {
  for (const file of sources) {
    const lines = read(file).split("\n");
    if (lines.length > fileLinesMax) t.fail(`${file} has ${lines.length} lines, more than ${fileLinesMax}`);
    if (!/^[a-z0-9_]+\.ts$/.test(file.split("/").at(-1)!)) t.fail(`${file} is not snake_case`);
    for (const { name, length } of functionsOf(lines)) {
      if (length > functionLinesMax) {
        t.fail(`${file}: ${name} has ${length} lines, more than ${functionLinesMax}`);
      }
    }
  }
});

/** Functions and methods, by the indentation at which they open and close: the formatter keeps it true. */
function* functionsOf(lines: readonly string[]): Generator<{ name: string; length: number }> {
  for (const [start, line] of lines.entries()) {
    const head =
      /^(\s*)(?:export )?(?:default )?(?:async )?(?:function\*? ?(\w+)|(?:(?:private|static|override|async|get|set) |\*|#)*(\w+)\(.*\{$)/
        .exec(line);
    if (head === null || /^\s*(?:if|for|while|switch|return|catch)\b|=> \{$/.test(line)) continue;
    const end = lines.findIndex((other, at) => at > start && other === `${head[1]}}`);
    if (end > start) yield { name: head[2] ?? head[3] ?? "?", length: end - start + 1 };
  }
}

t.test("a switch over the kinds of a union is complete at compile time", async (t) => {
  let seen = 0;
  for (const file of sources) {
    const visit = (node: ts.Node): void => {
      if (ts.isSwitchStatement(node) && /\.kind$/.test(node.expression.getText())) {
        seen++;
        if (!isComplete(node)) {
          t.fail(`${file}: switch (${node.expression.getText()}) would pass a kind by in silence`);
        }
      }
      ts.forEachChild(node, visit);
    };
    visit(ts.createSourceFile(file, read(file), ts.ScriptTarget.Latest, true));
  }
  t.ok(seen > 10, "switches were found");
});

/** By `satisfies never`, by handing the rest on, or because a function that returns something must not end without. */
function isComplete(node: ts.SwitchStatement): boolean {
  const rest = node.caseBlock.clauses.find(ts.isDefaultClause);
  if (rest !== undefined) return /satisfies never|return this\.#\w+\(/.test(rest.getText());
  let owner: ts.Node = node;
  while (!ts.isFunctionLike(owner)) owner = owner.parent;
  return !/^(?:void|undefined)$/.test((owner as ts.FunctionLikeDeclaration).type?.getText() ?? "void");
}

t.test("cbor-x and the argument parser are each imported in one place", async (t) => {
  const importers = (name: string) => sources.filter((file) => read(file).includes(`from "${name}`));
  t.same(importers("cbor-x"), ["src/protocol/cbor_x.ts"]);
  t.equal(importers("@std/cli").length, 1);
});

t.test("CBOR has one door: what is behind protocol/cbor.ts is imported by nobody else", async (t) => {
  const isBehind = (file: string) => /^src\/protocol\/(?:cbor_\w+|job_\w+)\.ts$/.test(file);
  t.ok(sources.filter(isBehind).length > 5, "the files behind it were found");
  for (const file of sources) {
    if (file === "src/protocol/cbor.ts" || isBehind(file)) continue;
    t.same(importsOf(file).filter(isBehind), [], file);
  }
});

t.test("the core and the protocol are blind: no clock, chance, I/O or promise", async (t) => {
  const forbidden =
    /\b(?:async|await|Date\.now|performance\.now|Math\.random|setTimeout|setImmediate|process\.)\b|node:(?:fs|net|child_process)/;
  for (const file of sources.filter((file) => /^src\/(?:core|protocol)\//.test(file))) {
    for (const [at, line] of read(file).split("\n").entries()) {
      if (!/^\s*(?:\*|\/\/|\/\*)/.test(line) && forbidden.test(line)) {
        t.fail(`${file}:${at + 1}: ${line.trim()}`);
      }
    }
  }
});

t.test("clocks, timers and chance come from lib/clock.ts, which no plugin can change", async (t) => {
  const globals = /(?<![.#\w"`])(?:(?:set|clear)(?:Timeout|Interval|Immediate)|queueMicrotask)\(/g;
  const clocks =
    /\b(?:performance\.|Date\.now|new Date\(\)|Math\.random|process\.hrtime|nextTick|timers\/promises)/;
  const seen = new Set<string>();
  for (const file of sources.filter((file) => !/^src\/lib\/(?:clock|watchdog)\.ts$/.test(file))) {
    const text = read(file);
    const code = text.replaceAll(/\/\*[^]*?\*\/|\/\/.*/g, "");
    if (clocks.test(code)) t.fail(`${file}: ${clocks.exec(code)![0]}`);
    const imported = /import \{([^}]*)\} from "[^"]*\/clock\.ts"/.exec(text)?.[1] ?? "";
    for (const [call] of code.matchAll(globals)) {
      const name = call.slice(0, -1);
      seen.add(name);
      // a method of that name, not a call
      if (new RegExp(`^  (?:async )?${name}\\([^)]*\\): `, "m").test(code)) continue;
      if (!imported.split(/[\s,]+/).includes(name)) t.fail(`${file}: ${name} is the global one`);
    }
  }
  t.ok(seen.size > 5, "calls were found");
});

/** Who writes to stdout or stderr other than by `reported`, and how what is foreign in it is escaped. */
const writers: Readonly<Record<string, RegExp>> = {
  "src/lib/exit_guard.ts": /export function writeNow/,
  "src/cli/commands/ctl.ts": /safeJson\([^]*printable\(said\.line/,
  "src/cli/commands/status.ts": /safeJson\([^]*snapshotLines\(/,
  "src/cli/commands/dead.ts": /\[letterJson\([^]*letterLines\)[^]*groups\.lines\(\)/,
  "src/cli/commands/cert.ts": /printable\([^]*shellQuote\(/,
  // Text of this program alone, or of `plugin_help.ts`.
  "src/cli/commands/help.ts": /generalHelp/,
  "src/cli/commands/plugin_help.ts": /printable\(line[^]*printable\(help/,
  "src/cli/commands/slave.ts": /new Terminal\(/,
  "src/cli/commands/state.ts": /stateJson\(report\)[^]*stateLines\(report\)/,
  // A token is a word of plain characters.
  "src/cli/commands/token.ts": /printable\([^]*shellQuote\(/,
  "src/cli/main.ts": /reported\(error\.message, error\.below\)/,
  "src/cli/commands/master.ts": /new EventWriter\(output\)/,
  "src/cli/run_name.ts": /printable\(question/,
  // The log, and what the plugin itself prints.
  "src/cli/commands/worker.ts": /makeLog/,
  "src/terminal/screen.ts": /export function lineOverStatus/,
  "src/terminal/terminal.ts": /makeLog/,
  "src/worker/main.ts": /printableLines\(/,
};

t.test("what is written for people is escaped: by reported(), or by a writer that is known to do so", async (t) => {
  const write =
    /\bprocess\.(?:stdout|stderr)\.write\b|\boutput: process\.std|\bwriteNow\([12],|\blineOverStatus\(|\bconsole\.(?:log|error|warn|info)\(/;
  const found = new Set<string>();
  for (const file of sources) {
    const code = read(file).replaceAll(/\/\*[^]*?\*\/|^\s*\/\/.*/gm, "");
    for (const line of code.split("\n")) {
      if (!write.test(line) || /\breported\(/.test(line)) continue;
      found.add(file);
      if (!(file in writers)) t.fail(`${file}: ${line.trim()}`);
      else if (!writers[file]!.test(code)) t.fail(`${file} does not escape as it did`);
    }
  }
  t.ok(found.size > 5, "writers were found");
});

t.test("the documented tree names every source file in its folder, and no other", async (t) => {
  const documented: string[] = [];
  let folder = "";
  for (const line of read("docs/architecture.md").split("\n")) {
    folder = /^### `(src\/[\w/]+)`/.exec(line)?.[1] ?? (line.startsWith("#") ? "" : folder);
    const name = folder === "" ? undefined : /^\| `([\w.]+\.ts)` \|/.exec(line)?.[1];
    if (name !== undefined) documented.push(join(folder, name));
  }
  t.same(documented.sort(), sources);
});

t.test("rooms are few and deep", async (t) => {
  for (const folder of new Set(sources.map((file) => dirname(file)))) {
    const count = sources.filter((file) => dirname(file) === folder).length;
    if (count > folderFilesMax) t.fail(`${folder} has ${count} files, more than ${folderFilesMax}`);
  }
  for (const file of sources) {
    if (file in small || read(file).split("\n").length > smallLines) continue;
    const importers = sources.filter((other) => importsOf(other).includes(file));
    if (importers.length < 2) t.fail(`${file} is small, and only ${importers[0] ?? "nobody"} imports it`);
  }
});

/** Tests of what is in several files, or in none. */
const unmirrored = [
  "test/cli/exit_code.test.ts",
  "test/cli/parse_args.test.ts",
  "test/cli/process.test.ts",
  "test/core/holdings_memory.test.ts",
  "test/link/real_servers.test.ts",
  "test/slave/pure.test.ts",
  "test/terminal/progress.test.ts",
  "test/worker/several_jobs.test.ts",
];

t.test("a test in a folder that src has is named after a file there: Y.test.ts, or Y_topic.test.ts", async (t) => {
  const tests = readdirSync(join(root, "test"), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".test.ts")).map((name) => join("test", name));
  const subjects = sources.map((file) => file.replace(/^src/, "test").replace(/\.ts$/, ""));
  const folders = new Set(subjects.map((subject) => dirname(subject)));
  const strays = tests.filter((file) =>
    folders.has(dirname(file)) &&
    !subjects.some((subject) => file.startsWith(subject) && /^[._]/.test(file.slice(subject.length)))
  );
  t.same(strays.sort(), unmirrored);
});

t.test("what test/kit has is not written again in another test or measurement", async (t) => {
  const files = ["test", "bench"].flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith(".ts") && !name.includes("node_modules")).map((name) =>
        join(folder, name)
      )
  );
  const kit = files.filter((file) => file.startsWith("test/kit/"));
  const shared = new Map(kit.flatMap((file) => declaredIn(file, true).map((name) => [name, file] as const)));
  t.ok(shared.size > 20, "the kit was read");
  for (const file of files.filter((file) => !kit.includes(file))) {
    for (const name of declaredIn(file, false)) {
      const home = shared.get(name);
      if (home !== undefined) t.fail(`${file}: ${name} is in ${home}`);
    }
  }
  const page = read("docs/architecture.md");
  t.same(
    kit.map((file) => file.slice("test/".length)).filter((name) => !page.includes(`| \`${name}\` |`)),
    [],
  );
});

/** Names of the functions, classes and constants of a file's top level; of those that it exports, if only these count. */
function declaredIn(file: string, isExported: boolean): string[] {
  const tree = ts.createSourceFile(file, read(file), ts.ScriptTarget.Latest);
  return tree.statements.flatMap((node) => {
    const isShared = ts.canHaveModifiers(node) &&
      (ts.getModifiers(node) ?? []).some(({ kind }) => kind === ts.SyntaxKind.ExportKeyword);
    if (isExported && !isShared) return [];
    if (ts.isFunctionDeclaration(node) || ts.isClassDeclaration(node)) {
      return node.name ? [node.name.text] : [];
    }
    if (!ts.isVariableStatement(node)) return [];
    return node.declarationList.declarations.flatMap(({ name }) => ts.isIdentifier(name) ? [name.text] : []);
  });
}

t.test("what documents link to is there", async (t) => {
  const documents = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"].concat(
    readdirSync(join(root, "docs")).filter((name) => name.endsWith(".md")).map((name) => join("docs", name)),
  );
  for (const document of documents) {
    for (const [, link] of read(document).matchAll(/\]\((?!\w+:|#)([^)#\s]+)[^)]*\)/g)) {
      const path = resolve(root, dirname(document), link!);
      if (!existsSync(path)) t.fail(`${document} links to ${link}, which is not there`);
    }
  }
});

t.test("Deno is given the packages that npm is given", async (t) => {
  const { dependencies } = JSON.parse(read("package.json"));
  const { imports } = JSON.parse(read("deno.json"));
  for (const [name, target] of Object.entries<string>(imports)) {
    const [, npmName, version] = /^npm:([^@]+)@([\d.]+)/.exec(target) ?? [];
    if (npmName !== undefined) t.equal(dependencies[npmName], version, name);
    else t.ok(existsSync(join(root, target)), target);
  }
  const needed = sources.concat("vendor/std-cli/parse_args.js").flatMap((file) =>
    [...read(file).matchAll(/^import [^"]*from "((?!node:)[a-z@][^"]*)";/gm)].map(([, name]) => name!)
  );
  t.same(needed.filter((name) => !(name in imports)), []);
});
