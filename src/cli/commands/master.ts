import type { Invocation } from "../commands.ts";

/** Not here yet. */
export async function master(_: Invocation): Promise<number> {
  throw new Error("master: not wired yet");
}
