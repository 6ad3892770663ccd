import { version as number } from "../../lib/runtime.ts";

/** Prints the version on stdout. */
export async function version(): Promise<number> {
  process.stdout.write(`taskmaster ${number}\n`);
  return 0;
}
