import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";

/**
 * When a process began, in the words of the system: null if there is no such process, empty if that is all that is
 * known of it. A zombie runs no more.
 */
export async function startOfProcess(pid: number): Promise<string | null> {
  if (!isThere(pid)) return null;
  if (process.platform === "linux") return await fromProc(pid);
  return process.platform === "win32" ? "" : await fromPs(pid);
}

function isThere(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as { code?: string }).code === "EPERM";
  }
}

/** `pid (name) state ... starttime`: the state is the first word behind the name, the start the twentieth. */
async function fromProc(pid: number): Promise<string | null> {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => null);
  if (stat === null) return null;
  const words = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return ["Z", "X"].includes(words[0]!) ? null : words[19] ?? "";
}

async function fromPs(pid: number): Promise<string> {
  const env = { ...process.env, LC_ALL: "C", TZ: "UTC" };
  return await new Promise((resolve) => {
    execFile("ps", ["-o", "lstart=", "-p", String(pid)], { env, timeout: 5_000 }, (error, stdout) => {
      resolve(error === null ? stdout.trim() : "");
    });
  });
}
