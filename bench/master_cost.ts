// What a job costs the master alone: iterate, encode, buffer, lease, send, settle, save. Slaves are processes that
// answer each lease as it comes and decode no job.
//   bun bench/master_cost.ts small 3000000 --slaves 1 --credit 8192
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { dial } from "../src/link/dial.ts";
import { type Master, startMaster } from "../src/master/master.ts";
import { makerOf } from "./rows.ts";

const { positionals: [shape = "small", jobs = "2000000", port], values } = parseArgs({
  allowPositionals: true,
  options: {
    slaves: { type: "string", default: "1" },
    /** Jobs that each slave may hold. */
    credit: { type: "string", default: "4096" },
    /** Jobs of one answer at most: a lease may be answered in parts. */
    answer: { type: "string", default: "1000000" },
  },
});
if (port === undefined) await measure();
else await answerAll(Number(port), Number(values.credit), Number(values.answer));

async function measure(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "taskmaster-bench-"));
  let startedAt = 0, leases = 0;
  let cpuBefore = process.cpuUsage();
  const master = await open(folder, function* () {
    startedAt = performance.now();
    cpuBefore = process.cpuUsage();
    const make = makerOf(shape);
    for (let id = 0; id < Number(jobs); id++) yield make(id);
  });
  const slaves = Array.from(
    { length: Number(values.slaves) },
    () => spawnSlave(master, (count) => leases += count),
  );
  await master.finished;
  const elapsedMs = performance.now() - startedAt;
  const { user, system } = process.cpuUsage(cpuBefore);
  await Promise.all(slaves.map(({ ended }) => ended));
  rmSync(folder, { recursive: true });
  const perJob = (micros: number) => (micros / Number(jobs)).toFixed(3);
  console.log(
    `${shape}: ${Math.round(Number(jobs) / elapsedMs).toLocaleString("en")} k jobs/s, ` +
      `${perJob(user + system)} us of CPU a job, ${Math.round(Number(jobs) / leases)} jobs a lease, ` +
      `peak ${Math.round(process.resourceUsage().maxRSS / 1024)} MiB`,
  );
}

function open(stateDir: string, getJobs: () => Generator<unknown>): Promise<Master> {
  return startMaster({
    plugin: {
      name: "bench.ts",
      path: "/bench.ts",
      exportName: "default",
      hash: new Uint8Array(32),
      plugin: { getJobs },
      options: {},
      hints: [],
    },
    args: {},
    host: "127.0.0.1",
    port: 0,
    portFallback: false,
    token: null,
    key: "bench",
    stateDir,
    reset: false,
    force: false,
    jobsMax: 10_000,
    bytesMax: 64 << 20,
    failuresMax: 3,
    backoffMs: 1_000,
    timeoutMs: 0,
    heartbeatMs: 5_000,
    checkpointMs: 1_000,
    graceMs: 30_000,
    reclaimMs: 0,
    version: "0",
    log: (level, message) => level === "info" || console.error(`${level}: ${message}`),
  });
}

/** A slave in a process of its own; it prints how many leases it got. */
function spawnSlave(master: Master, onLeases: (count: number) => void): { ended: Promise<void> } {
  const words = [process.argv[1]!, shape, jobs, String(master.address.port)];
  for (const name of ["credit", "answer"] as const) words.push(`--${name}`, values[name]);
  const child: ChildProcess = spawn(process.execPath, words, { stdio: ["ignore", "pipe", "inherit"] });
  const timer = setTimeout(() => child.kill("SIGKILL"), 120_000);
  child.stdout!.on("data", (text) => onLeases(Number(text)));
  return { ended: new Promise((resolve) => child.on("close", () => (clearTimeout(timer), resolve()))) };
}

async function answerAll(port: number, credit: number, jobsMax: number): Promise<void> {
  let number = 0, leases = 0;
  const { link, welcome: { masterId } } = await dial({
    host: "127.0.0.1",
    port,
    token: null,
    intro: {
      slaveId: crypto.randomUUID(),
      name: "bench",
      version: "0",
      procs: 1,
      plugin: null,
      runtime: "bench",
    },
    role: "slave",
    nowMs: () => performance.now(),
    signal: new AbortController().signal,
  });
  link.onMessage = (message) => {
    if (message.kind !== "lease") return;
    leases++;
    const lease = { masterId, number: message.number };
    const end = message.seq + message.count;
    for (let from = message.seq; from < end; from += jobsMax) {
      const done = [from, Math.min(end, from + jobsMax)];
      const rest = { skipped: [], failed: [], crash: null, released: [] };
      link.send({ kind: "answer", number: ++number, lease, credit, done, ...rest });
    }
  };
  link.onClose = () => console.log(leases);
  link.send({ kind: "ready", credit, held: [] });
}
