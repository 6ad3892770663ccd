// `npm run compile:deno`: the same program compiled with Deno, as dist/taskmaster-deno.
//
// It needs what Bun's does not: `deno compile` downloads its runtime (denort) from dl.deno.land, for no npm package
// has it; and a binary it makes cannot import a file that was not there at compile time (denoland/deno#18327), so it
// takes plugins that are named here, behind `--`: they become part of it.
//   npm run compile:deno -- plugins/posts.ts
import { spawnSync } from "node:child_process";
import { join, resolve } from "node:path";

const root = resolve(import.meta.dirname!, "..");
const deno = process.versions.deno === undefined
  ? join(root, "node_modules", ".bin", "deno")
  : process.execPath;
const includes = process.argv.slice(2).flatMap((plugin) => ["--include", plugin]);
const args = [
  "compile",
  "-A",
  "--no-check",
  ...includes,
  "--output",
  join(root, "dist", "taskmaster-deno"),
  join(root, "mod.ts"),
];
const { status, error } = spawnSync(deno, args, { cwd: root, stdio: "inherit", timeout: 600_000 });
if (error !== undefined) throw error;
if (status !== 0) {
  console.error(
    "Cannot compile with Deno: see above. It needs the network for denort; `npm run compile` (Bun) does not.",
  );
}
process.exit(status ?? 1);
