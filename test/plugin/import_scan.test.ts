import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import ts from "typescript";
import { hasDecorators, scanImports } from "../../src/plugin/import_scan.ts";
import { root } from "../kit/runtimes.ts";

t.test("imports are found in all their forms", async (t) => {
  const table: readonly (readonly [string, readonly string[]])[] = [
    ['import "./a.ts";', ["./a.ts"]],
    ["import a from './a.ts'", ["./a.ts"]],
    ['import a, { b as c, type D } from "./a.ts";', ["./a.ts"]],
    ['import * as a from "./a.ts"; import b from "./b.ts"', ["./a.ts", "./b.ts"]],
    ['import data from "./a.json" with { type: "json" };', ["./a.json"]],
    ['import text from "./a.txt" with { type: "text" }', ["./a.txt"]],
    ['import { "a name" as b } from "./a.ts"', ["./a.ts"]],
    ['import{a}from"./a.ts";import"./b.ts"', ["./a.ts", "./b.ts"]],
    ["import {\r\n  a,\r\n  // from './no.ts'\r\n  b,\r\n} from\r\n  './a.ts';\r\n", ["./a.ts"]],
    ['import type from "./a.ts"', ["./a.ts"]],
    ['import type, { b } from "./a.ts"', ["./a.ts"]],
    ['import from from "./a.ts"', ["./a.ts"]],
    ['import defer * as a from "./a.ts"', ["./a.ts"]],
    ['import { from } from "./a.ts"', ["./a.ts"]],
    ['export * from "./a.ts"; export * as b from "./b.ts"', ["./a.ts", "./b.ts"]],
    ['export { a, b as default } from "./a.ts"', ["./a.ts"]],
    ['await import("./a.ts"); import(/* here */ `./b.ts`, { with: {} })', ["./a.ts", "./b.ts"]],
    ['const a = require("./a.cjs"), { b } = require ( "./b.cjs" )', ["./a.cjs", "./b.cjs"]],
    ['import a = require("./a.ts");', ["./a.ts"]],
    ['await import("./a.ts" as string); import(("./b.ts")); import("./c.ts" satisfies T)', [
      "./a.ts",
      "./b.ts",
      "./c.ts",
    ]],
    ['import(x ? "./a.ts" : (y ?? "./b.ts")); require(z || "./c.cjs")', ["./a.ts", "./b.ts", "./c.cjs"]],
    ['import(new URL("./a.ts", import.meta.url).href); new Worker(new URL("./b.ts", import.meta.url))', [
      "./a.ts",
      "./b.ts",
    ]],
    ['createRequire(import.meta.url)("./a.cjs"); m.createRequire(f(x))("./b.cjs")', ["./a.cjs", "./b.cjs"]],
    ['const load: NodeRequire = createRequire(import.meta.url), a = load("./a.cjs")', ["./a.cjs"]],
    ['import.meta.require("./a.cjs")', ["./a.cjs"]],
    ['import "./\\x61\\u002e\\u{74}s"; import "./b\\\r\n.ts"', ["./a.ts", "./b.ts"]],
    ['#!/usr/bin/env bun import "./no.ts"\nimport "./a.ts"', ["./a.ts"]],
    ['\uFEFFimport "./a.ts"', ["./a.ts"]],
    ['import "./a.ts"; import "./a.ts"', ["./a.ts"]],
    ["`${await import('./a.ts')} ${`${require('./b.cjs')}`}`", ["./a.ts", "./b.cjs"]],
  ];
  for (const [text, expected] of table) t.same(scanImports(text), expected, JSON.stringify(text));
});

t.test("what only looks like an import is none", async (t) => {
  const table: readonly string[] = [
    'import type { A } from "./a.ts"; import type * as B from "./b.ts"; import type C from "./c.ts"',
    'import type from from "./a.ts"',
    'export type { A } from "./a.ts"; export type * from "./b.ts"',
    '// import "./a.ts"\n/* import "./b.ts" */ /** export * from "./c.ts" */',
    "const a = 'import \"./a.ts\"', b = \"import './b.ts'\";",
    "`import './a.ts' ${1} import('./b.ts') \\` require('./c.ts')`",
    "/import '.\\/a.ts'/.test(x); x = a / 'import(' / 2",
    'loader.import("./a.ts"); x?.require("./b.ts"); import.meta.resolve("./c.ts")',
    'import(path); import("./a" + ".ts"); import(`./${name}.ts`); require(name)',
    'import(x === "./a.ts" ? y : z); import("./a.ts".trim()); import(join(x, "./b.ts"))',
    'load("./a.cjs"); require(function () { return "./b.ts"; }); createRequire(url); f("./c.ts")',
    'export const from = "./a.ts"; export default "./b.ts"; export { from };',
    'export { a }; const from = "./a.ts"',
    "const o = { import: 1, require: 2, from: './a.ts' }",
    "/['\"`]/.test(s); if (x) /`/.exec(s); s.replace(/[/`]/g, '')",
  ];
  for (const text of table) t.same(scanImports(text), [], text);
});

t.test("a mistake about a slash, or a text of JSX, ends with its line", async (t) => {
  const table: readonly string[] = [
    "const a = x! / 2; // `\n",
    "i++ / 2; '`'\n",
    "const v = <p>Don't</p>;\n",
    "const v = <p>`</p>;\n",
    "const v = (\n  <a href='x'>it's // `</a>\n);\n",
    "} / 2 / '`'\n",
    "const s = 'never ended\n",
    "const a = b as C<D> / 2;\n",
  ];
  for (const text of table) t.same(scanImports(`${text}import "./a.ts";`), ["./a.ts"], text);
});

t.test("decorators are told from what looks like them", async (t) => {
  for (const text of ["@a class B {}", "class A { constructor(@b c: D) {} }", "class A {\n  @b() c = 1; }"]) {
    t.ok(hasDecorators(text), text);
  }
  for (const text of ["/** @param a */", 'import "@b/c"; // @d', "`@a ${'@'}`", "/@/.test(a)"]) {
    t.notOk(hasDecorators(text), text);
  }
});

t.test("it finds what the TypeScript compiler finds, in thousands of files", async (t) => {
  let specifiers = 0, files = 0;
  for (
    const folder of [
      "src",
      "test",
      "bench",
      "plugins",
      ...packages.map((name) => `node_modules/${name}`),
    ]
  ) {
    for (const file of sourcesIn(join(root, folder))) {
      const text = readFileSync(file, "utf8");
      const expected = importsOf(file, text);
      files++;
      specifiers += expected.length;
      const found = scanImports(text).sort();
      if (found.join("\n") !== expected.join("\n")) t.same(found, expected, file);
    }
  }
  t.ok(files > 1_000 && specifiers > 3_000, `${specifiers} in ${files} files`);
});

/** With TypeScript and JavaScript in many hands, compiled code among it. */
const packages = [
  "@tapjs",
  "@types/node",
  "cbor-x",
  "pino",
  "pino-pretty",
  "fast-check",
  "chalk",
  "react-dom",
];

function* sourcesIn(folder: string): Generator<string> {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* sourcesIn(path);
    else if (/\.(?:[cm]?[jt]s|[jt]sx)$/.test(entry.name)) yield path;
  }
}

const choosing: ReadonlySet<ts.SyntaxKind> = new Set([
  ts.SyntaxKind.BarBarToken,
  ts.SyntaxKind.AmpersandAmpersandToken,
  ts.SyntaxKind.QuestionQuestionToken,
]);

function importsOf(file: string, text: string): string[] {
  const found = new Set<string>();
  const add = (node: ts.Node | undefined): void => {
    if (node !== undefined && ts.isStringLiteralLike(node)) found.add(node.text);
  };
  /** The literals that an argument may be, or is made from by a function. */
  const given = (node: ts.Node | undefined): void => {
    if (node === undefined) return;
    if (ts.isStringLiteralLike(node)) add(node);
    else if (ts.isConditionalExpression(node)) [node.whenTrue, node.whenFalse].forEach(given);
    else if (ts.isBinaryExpression(node) && choosing.has(node.operatorToken.kind)) given(node.right);
    else if (ts.isCallExpression(node) || ts.isNewExpression(node)) given(node.arguments?.[0]);
    else if (ts.isPropertyAccessExpression(node) && !ts.isStringLiteralLike(node.expression)) {
      given(node.expression);
    } else if (ts.isParenthesizedExpression(node) || ts.isAsExpression(node)) given(node.expression);
  };
  const names = new Set(["require"]);
  const visit = (node: ts.Node): void => {
    if (ts.isVariableDeclaration(node) && isCreateRequire(node.initializer)) names.add(nameOf(node.name)!);
    if (ts.isImportDeclaration(node) && !node.importClause?.isTypeOnly) add(node.moduleSpecifier);
    else if (ts.isExportDeclaration(node) && !node.isTypeOnly) add(node.moduleSpecifier);
    else if (ts.isExternalModuleReference(node)) add(node.expression);
    else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) add(node.argument.literal);
    else if (ts.isCallExpression(node) && isImporting(node.expression, names)) given(node.arguments[0]);
    else if (ts.isNewExpression(node) && nameOf(node.expression) === "Worker") given(node.arguments?.[0]);
    ts.forEachChild(node, visit);
  };
  const kind = /\.[cm]?js$/.test(file)
    ? ts.ScriptKind.JS
    : /x$/.test(file)
    ? ts.ScriptKind.TSX
    : ts.ScriptKind.TS;
  visit(ts.createSourceFile(file, text, ts.ScriptTarget.Latest, false, kind));
  return [...found].sort();
}

function isImporting(callee: ts.Expression, names: ReadonlySet<string>): boolean {
  return callee.kind === ts.SyntaxKind.ImportKeyword || names.has(nameOf(callee) ?? "") ||
    isCreateRequire(callee);
}

function isCreateRequire(node: ts.Expression | undefined): boolean {
  if (node === undefined || !ts.isCallExpression(node)) return false;
  const { expression } = node;
  return nameOf(ts.isPropertyAccessExpression(expression) ? expression.name : expression) === "createRequire";
}

function nameOf(node: ts.Node): string | undefined {
  return ts.isIdentifier(node) ? node.text : undefined;
}
