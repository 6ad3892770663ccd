// What TLS costs: a master and a slave of the binary over loopback, plain and with TLS in turn, over jobs that cost
// nothing: `npm run compile && bun bench/tls.ts --rounds 3`.
import { type ChildProcess, spawn } from "node:child_process";
import { chmodSync, copyFileSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { root } from "./run_empty.ts";

const { values: { rounds } } = parseArgs({ options: { rounds: { type: "string", default: "3" } } });
const binary = join(root, "dist", "taskmaster");
const loads = [{ shape: "small", jobs: 4_000_000 }, { shape: "row", jobs: 500_000 }];

for (const { shape, jobs } of loads) {
  const plain: number[] = [], tls: number[] = [];
  for (let round = 0; round < Number(rounds); round++) {
    plain.push(await jobsPerSecond(shape, jobs, false));
    tls.push(await jobsPerSecond(shape, jobs, true));
  }
  const ratio = (median(tls) / median(plain)).toFixed(2);
  console.log(`${shape}: plain ${shown(plain)}; TLS ${shown(tls)}; ratio ${ratio}`);
}

async function jobsPerSecond(shape: string, jobs: number, withTls: boolean): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), "taskmaster-bench-"));
  const children: ChildProcess[] = [];
  const start = (words: readonly string[]) => {
    const child = spawn(binary, [...words, "--no-progress"], {
      cwd: folder,
      env: { HOME: folder, TASKMASTER_TOKEN: "bench".padEnd(32, "-") },
      stdio: ["ignore", "ignore", "pipe"],
      timeout: 300_000,
    });
    children.push(child);
    return child;
  };
  try {
    const key = join(folder, "key.pem"), certificates = join(root, "test", "certificates");
    copyFileSync(join(certificates, "master.key"), key);
    chmodSync(key, 0o600);
    const certificate = withTls ? ["--tls-cert", join(certificates, "master.pem"), "--tls-key", key] : [];
    const plugin = join(root, "bench", "plugins", "empty.ts"), report = join(folder, "report.json");
    const words = [plugin, `jobs=${jobs}`, `shape=${shape}`, `report=${report}`, "--state-dir", folder];
    const master = start(["master", ...words, "--host", "127.0.0.1:0", ...certificate]);
    const [, join_, port] = await printed(master, /^Join with: taskmaster (.* 127\.0\.0\.1:(\d+).*)$/m);
    if (!port) throw new Error("no port");
    start([...join_!.split(" "), "--procs", "1"]);
    await new Promise((resolve) => master.once("close", resolve));
    return jobs / JSON.parse(readFileSync(report, "utf8")).elapsedMs * 1000;
  } finally {
    for (const child of children) child.kill("SIGKILL");
    rmSync(folder, { recursive: true });
  }
}

function printed(child: ChildProcess, pattern: RegExp): Promise<RegExpMatchArray> {
  let text = "";
  return new Promise((resolve, reject) => {
    child.stderr!.on("data", (chunk) => {
      const found = (text += chunk).match(pattern);
      if (found !== null) resolve(found);
    });
    child.once("close", () => reject(new Error(text)));
  });
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1]!;
}

function shown(rates: readonly number[]): string {
  const thousands = (rate: number) => Math.round(rate / 1000);
  return `${thousands(median(rates))} k/s (${thousands(Math.min(...rates))} to ${
    thousands(Math.max(...rates))
  })`;
}
