import { spawn } from "node:child_process";
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Mutant } from "./mutants.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));

/** Copies the sources and the simulation, patches them, and runs seeds. Returns how that ended, and what it said. */
export async function tryMutant(
  mutant: Mutant,
  seeds: number,
  limitMs: number,
): Promise<{ code: number | null; output: string }> {
  const folder = await mkdtemp(join(tmpdir(), "taskmaster-mutant-"));
  try {
    for (const part of ["src/base", "src/core", "src/protocol", "test/sim"]) {
      await cp(join(root, part), join(folder, part), { recursive: true });
    }
    await cp(join(root, "package.json"), join(folder, "package.json"));
    await symlink(join(root, "node_modules"), join(folder, "node_modules"));
    for (const { file, find, replace } of mutant.patches) await patch(join(folder, file), find, replace);
    return await simulate(folder, seeds, limitMs);
  } finally {
    await rm(folder, { recursive: true });
  }
}

async function patch(path: string, find: string, replace: string): Promise<void> {
  const parts = (await readFile(path, "utf8")).split(find);
  if (parts.length !== 2) throw new Error(`Cannot patch ${path}: ${parts.length - 1} places read ${find}`);
  await writeFile(path, parts.join(replace));
}

function simulate(
  folder: string,
  seeds: number,
  limitMs: number,
): Promise<{ code: number | null; output: string }> {
  const words = [join(folder, "test/sim/main.ts"), "--seeds", String(seeds)];
  const child = spawn(join(root, "node_modules/.bin/bun"), words, {
    cwd: folder,
    stdio: ["ignore", "pipe", "pipe"],
  });
  const timer = setTimeout(() => child.kill("SIGKILL"), limitMs);
  let output = "";
  child.stdout.on("data", (bytes) => output += bytes);
  child.stderr.on("data", (bytes) => output += bytes);
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => {
      clearTimeout(timer);
      resolve({ code, output });
    });
  });
}
