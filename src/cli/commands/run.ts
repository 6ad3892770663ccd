import type { Invocation } from "../commands.ts";

/** Not here yet. */
export async function run(_: Invocation): Promise<number> {
  throw new Error("run: not wired yet");
}
