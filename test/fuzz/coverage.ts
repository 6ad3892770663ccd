import { Session } from "node:inspector/promises";

type Taken = {
  result: {
    url: string;
    functions: { ranges: { startOffset: number; endOffset: number; count: number }[] }[];
  }[];
};

/** Which blocks of the product ran: precise coverage by the engine itself, in this process (Bun and Deno). */
export class Coverage {
  readonly #session = new Session();
  readonly #seen = new Set<string>();

  private constructor() {}

  static async start(): Promise<Coverage> {
    const coverage = new Coverage();
    coverage.#session.connect();
    await coverage.#session.post("Profiler.enable");
    await coverage.#session.post("Profiler.startPreciseCoverage", { callCount: true, detailed: true });
    return coverage;
  }

  /** Blocks seen so far. */
  get size(): number {
    return this.#seen.size;
  }

  /** Blocks that ran since the last call and had never run before. */
  async take(): Promise<string[]> {
    const { result } = await this.#session.post("Profiler.takePreciseCoverage") as Taken;
    const fresh: string[] = [];
    for (const { url, functions } of result) {
      if (!/\/(?:src|vendor|cbor-x|leven|minimist)\//.test(url)) continue;
      for (const { ranges } of functions) {
        for (const { startOffset, endOffset, count } of ranges) {
          const block = `${url}:${startOffset}-${endOffset}`;
          if (count === 0 || this.#seen.has(block)) continue;
          fresh.push(block);
        }
      }
    }
    return fresh;
  }

  /** These count as seen from now on. */
  keep(blocks: readonly string[]): void {
    for (const block of blocks) this.#seen.add(block);
  }
}
