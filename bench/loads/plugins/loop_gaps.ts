// Rows, and how long the master's event loop was held in one go while it handed them out.
//   gaps=F   where the longest gap of each fifth of a second is written, at every one of them, as lines
import { appendFileSync } from "node:fs";
import type { Context } from "../../../src/plugin/types.ts";
import { row } from "../../rows.ts";

/** A checkpoint is due once in each. */
const windowMs = 200;

export function* getJobs(last: { id: number } | undefined, ctx: Context) {
  if (ctx.args.gaps !== undefined) watch(ctx.args.gaps, ctx.signal);
  for (let id = (last?.id ?? -1) + 1;; id++) yield row(id);
}

export function handleJob(): void {}

/** The loop is asked for a turn, all the time: what lies between two turns is a gap. */
function watch(path: string, signal: AbortSignal): void {
  let lastMs = performance.now();
  let windowEndMs = lastMs + windowMs;
  let longestMs = 0;
  const turn = () => {
    const nowMs = performance.now();
    longestMs = Math.max(longestMs, nowMs - lastMs);
    if (nowMs >= windowEndMs) {
      appendFileSync(path, `${longestMs}\n`);
      windowEndMs = nowMs + windowMs;
      longestMs = 0;
    }
    lastMs = performance.now();
    if (!signal.aborted) setImmediate(turn);
  };
  setImmediate(turn);
}
