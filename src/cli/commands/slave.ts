import type { Invocation } from "../commands.ts";

/** Not here yet. */
export async function slave(_: Invocation): Promise<number> {
  throw new Error("slave: not wired yet");
}
