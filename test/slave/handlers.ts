import { spawn } from "node:child_process";
import { closeSync, readdirSync, readFileSync, writeFileSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** What the jobs of the tests do: each says so itself. */
type Job = {
  do?: string;
  ms?: number;
  code?: number;
  id?: number;
  mark?: string;
  well?: boolean;
  fails?: boolean;
};

export async function handleJob(job: Job, ctx: { signal: AbortSignal }): Promise<void> {
  if (job.mark !== undefined && job.do !== "forget timer") writeFileSync(job.mark, "");
  switch (job.do) {
    case "exit":
      process.exit(job.code);
      break;
    case "kill":
      process.kill(process.pid, "SIGKILL");
      // It is delivered before the next system call returns, but loop lest the job ends first.
      for (;;);
    case "loop":
      for (;;);
    case "block": {
      const until = performance.now() + job.ms!;
      while (performance.now() < until);
      return;
    }
    case "child":
      writeFileSync(`${job.mark}.pid`, String(spawn("sleep", ["60"], { stdio: "ignore" }).pid));
      for (;;);
    case "sleep":
      return await sleep(job.ms!);
    case "obey":
      return await new Promise((_, reject) =>
        ctx.signal.addEventListener("abort", () => reject(ctx.signal.reason), { once: true })
      );
    case "reject":
      void Promise.reject(new Error("nobody caught this"));
      return await sleep(10_000);
    case "hang":
      return await new Promise(() => setInterval(() => {}, 1_000));
    case "throw":
      throw new Error("it threw");
    case "throw long":
      throw Object.assign(new Error("it threw"), { stack: `at ${"x".repeat(300)}\n`.repeat(50) });
    case "forget":
      // whoever is `well` ends before the job's rest does
      void forgotten(job);
      return job.well === false ? await sleep(10_000) : undefined;
    case "forget timer":
      setTimeout(() => {
        throw new Error(`${job.mark ?? "it"} was late`);
      }, job.ms);
      return job.well === false ? await sleep(10_000) : undefined;
    case "keep open":
      setInterval(() => {}, 1_000);
      return;
    case "fake clock":
      return fakeClocks();
    case "close connection":
      for (let fd = 3; fd < 64; fd++) attempt(() => closeSync(fd));
      return;
    case "garbage":
      // into its connection as well, as a frame of 1.7 GB
      for (let fd = 3; fd < 64; fd++) attempt(() => writeSync(fd, "garbage!"));
      return await sleep(10_000);
    case "exit unnoted":
      for (const name of readdirSync(tmpdir()).filter((name) => name.startsWith("taskmaster-"))) {
        const notes = readdirSync(join(tmpdir(), name)).filter((file) => file.endsWith(".note"));
        for (const file of notes) {
          writeFileSync(join(tmpdir(), name, file), new Uint8Array(300_000), { flag: "r+" });
        }
      }
      return process.kill(process.pid, "SIGKILL") as unknown as void;
    case "oom":
      throw new Error(`counts for ${readFileSync("/proc/self/oom_score_adj", "utf8").trim()}`);
    case "token":
      throw new Error(`TASKMASTER_TOKEN is ${process.env.TASKMASTER_TOKEN}`);
  }
}

async function forgotten({ ms, mark, fails }: Job): Promise<void> {
  await sleep(ms!);
  if (fails) throw new Error("nobody waited for this");
  writeFileSync(`${mark}.late`, "");
}

/** As helpers of tests do it, and as nobody should: time stands still, runs back, or is none, and no timer rings. */
function fakeClocks(): void {
  const { performance, process } = globalThis;
  performance.now = () => NaN;
  Date.now = () => -1;
  process.hrtime = (() => [0, 0]) as unknown as typeof process.hrtime;
  Math.random = () => NaN;
  const timers = [
    "setTimeout",
    "setInterval",
    "setImmediate",
    "clearTimeout",
    "clearImmediate",
    "queueMicrotask",
  ];
  for (const name of timers) (globalThis as Record<string, unknown>)[name] = () => 0;
}

function attempt(step: () => void): void {
  try {
    step();
  } catch {
    // not open
  }
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
