import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const folder = join(dirname(fileURLToPath(import.meta.url)), "corpus");

/** The kept inputs of a target, in the order of their names. */
export function keptInputs(target: string): { name: string; input: Uint8Array }[] {
  const path = join(folder, target);
  if (!existsSync(path)) return [];
  return readdirSync(path).sort().map((name) => ({
    name,
    input: new Uint8Array(readFileSync(join(path, name))),
  }));
}

/** Keeps an input; returns its path. */
export function keep(target: string, input: Uint8Array, prefix = ""): string {
  const path = join(folder, target);
  mkdirSync(path, { recursive: true });
  const hash = createHash("sha256").update(input).digest("hex").slice(0, 12);
  const file = join(path, `${prefix}${hash}`);
  writeFileSync(file, input);
  return file;
}
