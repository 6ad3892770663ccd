import type { Invocation } from "../commands.ts";

/** Not here yet. */
export async function state(_: Invocation): Promise<number> {
  throw new Error("state: not wired yet");
}
