import { join, resolve } from "node:path";

export const root = resolve(import.meta.dirname ?? ".", "../..");
export const binary = join(root, "dist", "taskmaster");
export const bun = join(root, "node_modules", ".bin", "bun");
export const deno = join(root, "node_modules", ".bin", "deno");

/**
 * How each runtime starts a file. Node is the npm package of that name: of all releases that run the source, 24.2 has the
 * most peculiarities.
 */
export const interpreters: Readonly<Record<"bun" | "deno" | "node", readonly string[]>> = {
  bun: [bun],
  deno: [deno, "run", "-A"],
  node: [join(root, "node_modules", "node", "bin", "node")],
};

/** How the program is started: the binary, or the source in each runtime. */
export const runtimes: Readonly<Record<"binary" | keyof typeof interpreters, readonly string[]>> = {
  binary: [binary],
  bun: [...interpreters.bun, join(root, "mod.ts")],
  deno: [...interpreters.deno, join(root, "mod.ts")],
  node: [...interpreters.node, join(root, "mod.ts")],
};
