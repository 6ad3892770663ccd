import { spawn } from "node:child_process";

export type Ended = Readonly<{ code: number | null; output: string; isLate: boolean }>;

export type RunOptions = Readonly<{
  cwd: string;
  env: NodeJS.ProcessEnv;
  limitMs: number;
  /** Whether it has said all that is waited for: then it has two seconds left to end by itself. */
  isDone?: ((output: string) => boolean) | undefined;
}>;

const lingerMs = 2_000;

/** Runs a program to its end, by force after `limitMs`, in a process group of its own. */
export function runProgram(
  [command, ...args]: readonly [string, ...string[]],
  { cwd, env, limitMs, isDone = () => false }: RunOptions,
): Promise<Ended> {
  const child = spawn(command, args, { cwd, env, stdio: ["ignore", "pipe", "pipe"], detached: true });
  const end = () => {
    try {
      process.kill(-child.pid!, "SIGKILL");
    } catch {
      // it has ended, or never began
    }
    // what it started elsewhere may hold on to them
    child.stdout.destroy();
    child.stderr.destroy();
  };
  let isLate = false;
  const timer = setTimeout(() => {
    isLate = true;
    end();
  }, limitMs);
  process.on("exit", end);
  let linger: NodeJS.Timeout | undefined;
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    output += text;
    if (linger === undefined && isDone(output)) linger = setTimeout(end, lingerMs);
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => output += text);
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => {
      clearTimeout(timer);
      clearTimeout(linger);
      process.off("exit", end);
      resolve({ code, output, isLate });
    });
  });
}
