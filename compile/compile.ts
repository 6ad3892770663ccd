// Builds the binaries: `npm run compile` for this platform, as dist/taskmaster;
// `npm run compile -- --target all` (or one name of targets.ts) for others, with dist/SHA256SUMS.
// Bun fetches the runtime of a foreign platform from the npm registry the first time.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { type Target, targets } from "./targets.ts";

const root = resolve(import.meta.dirname!, "..");
const dist = join(root, "dist");

const always = [
  // a third less time until the first line, for 4 MB
  "--bytecode",
  "--minify-syntax",
  "--minify-whitespace",
  // npm packages beside a plugin are found by their package.json
  "--compile-autoload-package-json",
  // and other files of it by the `paths` of its tsconfig.json, as under Bun
  "--compile-autoload-tsconfig",
  // what happens to lie in the current folder changes nothing, as under the other runtimes
  "--no-compile-autoload-dotenv",
  "--no-compile-autoload-bunfig",
  // Bun writes where a module lies on this machine in place of these; in the binary it lies nowhere else
  ...Object.entries({
    "import.meta.url": "file:///$bunfs/root/taskmaster",
    "import.meta.dirname": "/$bunfs/root",
    "import.meta.dir": "/$bunfs/root",
    "import.meta.filename": "/$bunfs/root/taskmaster",
    "import.meta.path": "/$bunfs/root/taskmaster",
    __dirname: "/$bunfs/root",
    __filename: "/$bunfs/root/taskmaster",
  }).flatMap(([name, text]) => ["--define", `${name}=${JSON.stringify(text)}`]),
];

function main(): void {
  const { values } = parseArgs({ options: { target: { type: "string" }, outfile: { type: "string" } } });
  mkdirSync(dist, { recursive: true });
  if (values.target === undefined) return build(values.outfile ?? join(dist, "taskmaster"), []);
  const files = chosen(values.target).map(buildTarget);
  writeFileSync(
    join(dist, "SHA256SUMS"),
    files.map((file) => `${sha256(join(dist, file))}  ${file}\n`).join(""),
  );
  console.log(`dist/SHA256SUMS: ${files.length} binaries`);
}

function chosen(name: string): readonly Target[] {
  const found = targets.filter((target) => name === "all" || target.name === name);
  if (found.length > 0) return found;
  console.error(
    `Cannot compile for "${name}": the targets are all, ${targets.map((target) => target.name).join(", ")}.`,
  );
  process.exit(2);
}

/** Builds for one target and answers with the file's name. */
function buildTarget(target: Target): string {
  const file = `taskmaster-${target.name}${target.name.startsWith("windows") ? ".exe" : ""}`;
  build(join(dist, file), [`--target=${target.bun}`]);
  return file;
}

function build(outfile: string, options: readonly string[]): void {
  const entry = join(root, "src", "cli", "binary.ts");
  const args = ["build", "--compile", ...always, ...options, entry, "--outfile", outfile];
  // the runtime that runs this script is Bun itself
  const { status, error } = spawnSync(process.execPath, args, {
    cwd: root,
    stdio: "inherit",
    timeout: 600_000,
  });
  if (error !== undefined) throw error;
  if (status !== 0) process.exit(status ?? 1);
}

function sha256(file: string): string {
  return createHash("sha256").update(readFileSync(file)).digest("hex");
}

main();
