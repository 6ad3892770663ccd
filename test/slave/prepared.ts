/** A plugin whose `setup` does what the arguments say, and puts it on record. */
import { appendFileSync, readFileSync } from "node:fs";

type SetupContext = { args: Record<string, string> };

export async function setup({ args }: SetupContext): Promise<void> {
  if (args.record !== undefined) appendFileSync(args.record, "setup ");
  const setups = args.record === undefined ? 1 : readFileSync(args.record, "utf8").split(" ").length - 1;
  if (setups <= Number(args.kills ?? 0)) process.kill(process.pid, "SIGKILL");
  if (args.exit !== undefined) process.exit(Number(args.exit));
  await new Promise((resolve) => setTimeout(resolve, Number(args.ms ?? 0)));
}

export function handleJob(): void {}
