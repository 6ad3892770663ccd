import type { Invocation } from "../commands.ts";
import { startMasterProgram } from "../master_program.ts";

/** Iterates the plugin's source and hands its jobs to slaves. */
export async function master(invocation: Invocation): Promise<number> {
  const program = await startMasterProgram(invocation);
  program.greet();
  return await program.finish();
}
