import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** Milliseconds of one clock for all processes of a machine, to some microseconds. */
export function nowMs(): number {
  return performance.timeOrigin + performance.now();
}

/** One job, as a worker saw it; `yieldedMs` is 0 where the source did not say. */
export type Timed = Readonly<{ id: number; yieldedMs: number; begunMs: number; endedMs: number }>;

/** A part of a run, in milliseconds since all of its workers had begun. */
export type Stretch = readonly [fromMs: number, toMs: number];

const suffix = ".times";
const fields = 4;

/** When jobs were begun and ended in one process: kept in memory, left in a file. */
export class Times {
  #values = new Float64Array(fields * 4096);
  #length = 0;

  add(id: number, yieldedMs: number, begunMs: number, endedMs: number): void {
    if (this.#length === this.#values.length) {
      const longer = new Float64Array(2 * this.#length);
      longer.set(this.#values);
      this.#values = longer;
    }
    this.#values[this.#length++] = id;
    this.#values[this.#length++] = yieldedMs;
    this.#values[this.#length++] = begunMs;
    this.#values[this.#length++] = endedMs;
  }

  save(folder: string): void {
    writeFileSync(join(folder, `${process.pid}${suffix}`), this.#values.subarray(0, this.#length));
  }
}

/** What all processes left in a folder: for each its jobs, in the order in which they were begun. */
export function readTimes(folder: string): Timed[][] {
  const names = readdirSync(folder).filter((name) => name.endsWith(suffix));
  return names.map((name) => {
    const bytes = readFileSync(join(folder, name));
    const values = new Float64Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
    const jobs: Timed[] = [];
    for (let at = 0; at < values.length; at += fields) {
      const [id, yieldedMs, begunMs, endedMs] = values.subarray(at, at + fields);
      jobs.push({ id: id!, yieldedMs: yieldedMs!, begunMs: begunMs!, endedMs: endedMs! });
    }
    return jobs.sort((a, b) => a.begunMs - b.begunMs);
  }).filter((jobs) => jobs.length > 0);
}

/** The jobs that ended in a stretch of time. */
export function endedWithin(workers: readonly (readonly Timed[])[], fromMs: number, toMs: number): Timed[] {
  return workers.flatMap((jobs) => jobs.filter(({ endedMs }) => endedMs >= fromMs && endedMs < toMs));
}

/**
 * Jobs a second in a stretch of a run, which is counted from when the last of the workers began its first job.
 *
 * @throws {Error} if one of them was done before the stretch was: then it stood idle for a part of it.
 */
export function rateOver(
  workers: readonly (readonly Timed[])[],
  [fromMs, toMs]: Stretch,
): number {
  const beganMs = allBegunMs(workers);
  const workedMs = Math.min(...workers.map((jobs) => lastEndedMs([jobs]))) - beganMs;
  if (workedMs < toMs) {
    throw new Error(
      `Cannot measure up to ${toMs} ms: a worker was done after ${
        Math.round(workedMs)
      }. It is to have more jobs.`,
    );
  }
  return endedWithin(workers, beganMs + fromMs, beganMs + toMs).length / (toMs - fromMs) * 1000;
}

/** When the last of these began its first job. */
export function allBegunMs(workers: readonly (readonly Timed[])[]): number {
  return Math.max(...workers.map((jobs) => jobs[0]!.begunMs));
}

/** When the last job ended. */
export function lastEndedMs(workers: readonly (readonly Timed[])[]): number {
  return Math.max(...workers.map((jobs) => jobs.reduce((last, { endedMs }) => Math.max(last, endedMs), 0)));
}
