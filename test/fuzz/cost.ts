// What one input costs, in a process of its own, so that neither the fuzzer's memory nor its coverage counts:
//   bun test/fuzz/cost.ts TARGET < input
// prints {"ms":...,"mib":...}: the best of three times, and by how much the first made the process grow at its peak.
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { bun } from "../kit/runtimes.ts";
import { targets } from "./targets/all.ts";

export type Cost = Readonly<{ ms: number; mib: number }>;

/** No input under a megabyte may cost more. */
export const inputBytesMax = 1_000_000, msMax = 100, mibMax = 32;

/**
 * What these read is in memory already, and what they make of it is no longer; only their time can be dear. The steps of a
 * session are decoded and encoded once more by the test itself; what a message takes is measured by `messages`.
 */
const timedOnly: readonly string[] = ["values", "jobs", "session"];

const here = fileURLToPath(import.meta.url);

/** Measured where the product runs, in Bun; null where there is no /proc to tell the peak. */
export function costOf(target: string, input: Uint8Array): Cost | null {
  if (!existsSync("/proc/self/clear_refs")) return null;
  const child = spawnSync(bun, [here, target], { input, encoding: "utf8", timeout: 120_000 });
  if (child.status !== 0) throw new Error(`Cannot measure ${target}: ${child.error ?? child.stderr}`);
  return JSON.parse(child.stdout);
}

/** What is wrong with it, in words; null if nothing is. */
export function excess({ ms, mib }: Cost): string | null {
  if (ms <= msMax && mib <= mibMax) return null;
  return `${Math.round(ms)} ms and ${Math.round(mib)} MiB, more than ${msMax} ms or ${mibMax} MiB`;
}

/** The same for inputs that the other process makes itself; their order is that of `bombs.ts`. */
export function costsOfBombs(): Cost[] | null {
  if (!existsSync("/proc/self/clear_refs")) return null;
  const child = spawnSync(bun, [here, "--bombs"], { encoding: "utf8", timeout: 100_000 });
  if (child.status !== 0) throw new Error(`Cannot measure the bombs: ${child.error ?? child.stderr}`);
  return JSON.parse(child.stdout);
}

if (process.argv[1] === here) {
  if (process.argv[2] === "--bombs") {
    for (const { subject, seeds } of targets) for (const seed of seeds(1)) await subject(seed);
    const before = resident();
    const costs: Cost[] = [];
    const { bombs } = await import("./bombs.ts");
    for (const { target, input } of bombs) costs.push(await measured(target, input(), before));
    console.log(JSON.stringify(costs));
  } else {
    const target = targets.find(({ name }) => name === process.argv[2])!;
    for (const seed of target.seeds(1)) await target.subject(seed);
    const input = new Uint8Array(readFileSync(0));
    console.log(JSON.stringify(await measured(target.name, input, resident())));
  }
}

/** @param before What the process had, in KiB: what earlier inputs left behind counts too, so that nothing hides in it. */
async function measured(name: string, input: Uint8Array, before: number): Promise<Cost> {
  const { subject } = targets.find((target) => target.name === name)!;
  const mib = timedOnly.includes(name) ? 0 : await peakOf(() => subject(input), before);
  const times: number[] = [];
  for (let round = 0; round < 3; round++) {
    const startMs = performance.now(), cpu = process.cpuUsage();
    await subject(input);
    const { user, system } = process.cpuUsage(cpu);
    // The clock also counts other processes, the processor's time also what the engine does beside.
    times.push(performance.now() - startMs, (user + system) / 1_000);
    if (times[0]! < msMax / 10) break;
  }
  return { ms: Math.min(...times), mib };
}

async function peakOf(work: () => void | Promise<void>, before: number): Promise<number> {
  resident();
  // Begins the peak anew.
  writeFileSync("/proc/self/clear_refs", "5");
  await work();
  return (kibOf("VmHWM") - before) / 1024;
}

/** What the process has once garbage is collected, in KiB. */
function resident(): number {
  (globalThis as { Bun?: { gc(isSync: boolean): void } }).Bun?.gc(true);
  return kibOf("VmRSS");
}

function kibOf(field: string): number {
  return Number(new RegExp(`^${field}:\\s+(\\d+)`, "m").exec(readFileSync("/proc/self/status", "utf8"))![1]);
}
