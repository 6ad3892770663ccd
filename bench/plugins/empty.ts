// Jobs that cost nothing: what is left is taskmaster's own cost. A job's cursor is its id, as it would be of a row.
//   jobs=N       how many
//   shape=S      small: `{ id }`; row: about 230 bytes
//   folder=F     where workers say that they are ready, and where all processes leave their peak of memory (Linux)
//   workers=N    how many workers `getJobs` waits for
// Prints `begin` when the first job is asked for and `end` when the run has ended. Exports: the default, `asyncSource`,
// `asyncHandler`, whose promise is fulfilled when it comes, and `awaitingHandler`, whose promise is not.
import { readdirSync, readFileSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import type { Context, Summary } from "../../src/plugin/types.ts";
import { makerOf } from "../rows.ts";

type Last = number | undefined;

function* jobs(last: Last, { args }: Context) {
  const { make, from, end } = begin(last, args);
  for (let id = from; id < end; id++) yield make(id);
}

async function* jobsAsync(last: Last, { args }: Context) {
  const { make, from, end } = begin(last, args);
  for (let id = from; id < end; id++) yield make(id);
}

function begin(last: Last, args: Context["args"]) {
  writeSync(2, "begin\n");
  const make = makerOf(args.shape ?? "small");
  return { make, from: (last ?? -1) + 1, end: Number(args.jobs ?? 1_000_000) };
}

/** The clock starts when the workers are up, as it does for every other system. */
async function ready({ args }: Context): Promise<void> {
  while (names(args, "ready-").length < Number(args.workers ?? 1)) await sleep(5);
}

const plain = {
  getJobs: (last: Last, ctx: Context) => ready(ctx).then(() => jobs(last, ctx)),
  cursor: ({ id }: { id: number }) => id,
  handleJob(): void {},
  setup({ args }: Context): void {
    writeFileSync(join(args.folder ?? ".", `ready-${process.pid}`), "");
  },
  teardown({ args }: Context): void {
    leavePeak(args, "supervisor", process.ppid);
    leavePeak(args, "worker", process.pid);
  },
  onFinish({ done, repeated }: Summary, { args }: Context): void {
    writeSync(2, "end\n");
    leavePeak(args, "master", process.pid);
    writeFileSync(join(args.folder ?? ".", "summary"), JSON.stringify({ done, repeated }));
  },
};

export default plain;

export const asyncSource = {
  ...plain,
  getJobs: (last: Last, ctx: Context) => ready(ctx).then(() => jobsAsync(last, ctx)),
};

export const asyncHandler = { ...plain, async handleJob(): Promise<void> {} };

export const awaitingHandler = { ...plain, handleJob: async (): Promise<void> => void await null };

function names({ folder = "." }: Context["args"], start: string): string[] {
  return readdirSync(folder).filter((name) => name.startsWith(start));
}

/** Most resident memory that a process ever had, in MiB. */
function leavePeak({ folder = "." }: Context["args"], role: string, pid: number): void {
  if (process.platform !== "linux") return;
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  const peakMiB = Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1] ?? NaN) / 1024;
  writeFileSync(join(folder, `peak-${role}`), String(peakMiB));
}
