import { join, resolve } from "node:path";

export const root = resolve(import.meta.dirname ?? ".", "../..");
export const binary = join(root, "dist", "taskmaster");
export const bun = join(root, "node_modules", ".bin", "bun");
export const deno = join(root, "node_modules", ".bin", "deno");

/**
 * How each runtime starts the program. Node is the npm package of that name: of all releases that run the source, 24.2
 * has the most peculiarities.
 */
export const runtimes: Readonly<Record<"binary" | "bun" | "deno" | "node", readonly string[]>> = {
  binary: [binary],
  bun: [bun, join(root, "mod.ts")],
  deno: [deno, "run", "-A", join(root, "mod.ts")],
  node: [join(root, "node_modules", "node", "bin", "node"), join(root, "mod.ts")],
};
