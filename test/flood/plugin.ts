// Jobs without end that take a millisecond each.
//   bytes=N  how long each is
import { setTimeout as sleep } from "node:timers/promises";
import type { Context } from "../../src/plugin/types.ts";

export function* getJobs(last: { id: number } | undefined, ctx: Context) {
  const filler = "x".repeat(Number(ctx.args.bytes ?? 0));
  for (let id = (last?.id ?? -1) + 1;; id++) yield { id, filler };
}

export const handleJob = (): Promise<void> => sleep(1);

export const cursor = ({ id }: { id: number }): { id: number } => ({ id });
