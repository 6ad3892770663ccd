/** A plugin whose `setup` does what the arguments say, and puts it on record. */
import { appendFileSync } from "node:fs";

type SetupContext = { args: Record<string, string> };

export async function setup({ args }: SetupContext): Promise<void> {
  if (args.record !== undefined) appendFileSync(args.record, "setup ");
  if (args.exit !== undefined) process.exit(Number(args.exit));
  await new Promise((resolve) => setTimeout(resolve, Number(args.ms ?? 0)));
}

export function handleJob(): void {}
