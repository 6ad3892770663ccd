import type { Invocation } from "../commands.ts";

/** Not here yet. */
export async function token(_: Invocation): Promise<number> {
  throw new Error("token: not wired yet");
}
