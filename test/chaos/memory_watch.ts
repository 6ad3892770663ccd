import { readFileSync } from "node:fs";
import type { Fleet } from "./fleet.ts";

/** Resident memory of one process, sampled. */
export type MemoryLife = Readonly<{
  role: "master" | "supervisor" | "worker";
  pid: number;
  samples: readonly Readonly<{ atMs: number; mib: number }>[];
}>;

export type MemorySlope = Readonly<{
  role: MemoryLife["role"];
  seconds: number;
  /** Means over the second, third and last quarter of its life. */
  quartersMib: readonly number[];
  peakMib: number;
  /** Of the line of least squares through the last three quarters. */
  mibPerMinute: number;
}>;

const eachMs = 1_000;

/** Samples the memory of all processes of a fleet. */
export class MemoryWatch {
  readonly #lives = new Map<number, { role: MemoryLife["role"]; samples: { atMs: number; mib: number }[] }>();
  readonly #timer: ReturnType<typeof setInterval>;

  constructor(fleet: Fleet) {
    this.#timer = setInterval(() => {
      this.#sample(fleet.master.process.pid!, "master");
      for (const slot of fleet.slots) {
        this.#sample(slot.slave.process.pid!, "supervisor");
        for (const worker of fleet.workersOf(slot)) this.#sample(worker, "worker");
      }
    }, eachMs);
  }

  /** Ends it; returns the slope of the longest life of each role. */
  stop(): MemorySlope[] {
    clearInterval(this.#timer);
    return (["master", "supervisor", "worker"] as const).flatMap((role) => {
      const lives = [...this.#lives].map(([pid, life]) => ({ pid, ...life })).filter((life) =>
        life.role === role && life.samples.length >= 8
      );
      const longest = lives.sort((a, b) => b.samples.length - a.samples.length)[0];
      return longest === undefined ? [] : [slopeOf(longest)];
    });
  }

  #sample(pid: number, role: MemoryLife["role"]): void {
    const mib = residentMib(pid);
    if (mib === null) return;
    const life = this.#lives.get(pid) ?? { role, samples: [] };
    this.#lives.set(pid, life);
    life.samples.push({ atMs: Date.now(), mib });
  }
}

function residentMib(pid: number): number | null {
  try {
    const line = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "latin1"));
    return line === null ? null : Number(line[1]) / 1024;
  } catch {
    return null;
  }
}

/** A quarter of a life is for growing up: buffers, compiled code, heaps. */
export function slopeOf({ role, samples }: MemoryLife): MemorySlope {
  const quarter = Math.floor(samples.length / 4);
  const grown = samples.slice(quarter);
  const meanMs = mean(grown.map(({ atMs }) => atMs)), meanMib = mean(grown.map(({ mib }) => mib));
  let over = 0, under = 0;
  for (const { atMs, mib } of grown) {
    over += (atMs - meanMs) * (mib - meanMib);
    under += (atMs - meanMs) ** 2;
  }
  return {
    role,
    seconds: (samples.at(-1)!.atMs - samples[0]!.atMs) / 1000,
    quartersMib: [1, 2, 3].map((nth) =>
      mean(samples.slice(nth * quarter, nth === 3 ? undefined : (nth + 1) * quarter).map(({ mib }) => mib))
    ),
    peakMib: Math.max(...samples.map(({ mib }) => mib)),
    mibPerMinute: under === 0 ? 0 : over / under * 60_000,
  };
}

function mean(numbers: readonly number[]): number {
  return numbers.reduce((sum, number) => sum + number, 0) / numbers.length;
}
