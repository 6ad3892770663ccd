import { spawn } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";

/** What the jobs of the tests do: each says so itself. */
type Job = { do?: string; ms?: number; code?: number; id?: number; mark?: string };

export async function handleJob(job: Job, ctx: { signal: AbortSignal }): Promise<void> {
  if (job.mark !== undefined) writeFileSync(job.mark, "");
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
    case "oom":
      throw new Error(`counts for ${readFileSync("/proc/self/oom_score_adj", "utf8").trim()}`);
    case "token":
      throw new Error(`TASKMASTER_TOKEN is ${process.env.TASKMASTER_TOKEN}`);
  }
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
