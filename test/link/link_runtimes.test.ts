import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import t from "tap";
import { interpreters } from "../kit/runtimes.ts";
import { tlsCases } from "./tls_cases.ts";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
/** Runs the conformance script; its lines, and how it exited. */
function run(
  command: readonly string[],
  how: string,
): Promise<{ lines: string[]; code: number | null; errors: string }> {
  const [program, ...args] = command;
  const child = spawn(program!, [...args, here("./conformance.ts"), how], {
    stdio: ["ignore", "pipe", "pipe"],
    timeout: 60_000,
  });
  let out = "", errors = "";
  child.stdout.on("data", (chunk) => (out += chunk));
  child.stderr.on("data", (chunk) => (errors += chunk));
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => resolve({ lines: out.trim().split("\n"), code, errors }));
  });
}

for (const [runtime, command] of Object.entries(interpreters)) {
  for (const [how, steps] of [["plain", 9], ["tls", 9], ["cases", Object.keys(tlsCases).length]] as const) {
    t.test(`links work alike on ${runtime}, ${how}`, { timeout: 90_000 }, async (t) => {
      const { lines, code, errors } = await run(command, how);
      t.equal(code, 0, errors);
      t.equal(lines.length, steps);
      for (const line of lines) t.match(line, new RegExp(`^${runtime} ok: `), line);
    });
  }
}
