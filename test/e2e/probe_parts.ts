// What the plugins of the end-to-end tests and of chaos have in common.
import { appendFileSync } from "node:fs";
import { join } from "node:path";
import type { Context } from "../../src/plugin/types.ts";

/** Leaves in `D/runtimes` which runtime answered. */
export function recordRuntime(ctx: Context): void {
  const runtime = "Deno" in globalThis
    ? "deno"
    : "Bun" in globalThis
    ? (process.argv[1]?.startsWith("/$bunfs") ? "binary" : "bun")
    : "node";
  appendFileSync(join(ctx.args.dir!, "runtimes"), `${runtime}\n`);
}

/** What a bad job does. */
export function misbehave(what: string): unknown {
  switch (what) {
    case "loop":
      for (;;);
    case "exit":
      return process.exit(3);
    case "kill":
      process.kill(process.pid, "SIGKILL");
      for (;;);
    case "throw":
      throw new Error("bad row");
    case "outside":
      setTimeout(() => {
        throw new Error("a callback's own");
      });
      return new Promise(() => {});
    case "memory":
      for (const hoard: Uint8Array[] = [];;) hoard.push(new Uint8Array(16 << 20).fill(1));
    default:
      throw new TypeError(`The probe plugin knows no "${what}"`);
  }
}
