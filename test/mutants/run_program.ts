import { spawn } from "node:child_process";

export type Ended = Readonly<{ code: number | null; output: string; isLate: boolean }>;

export type RunOptions = Readonly<{
  cwd: string;
  env: NodeJS.ProcessEnv;
  limitMs: number;
  /** Whether it has said all that is waited for: it is ended then. */
  isDone?: ((output: string) => boolean) | undefined;
}>;

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
  };
  let isLate = false;
  const timer = setTimeout(() => {
    isLate = true;
    end();
  }, limitMs);
  process.on("exit", end);
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    output += text;
    if (isDone(output)) end();
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => output += text);
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => {
      clearTimeout(timer);
      process.off("exit", end);
      resolve({ code, output, isLate });
    });
  });
}
