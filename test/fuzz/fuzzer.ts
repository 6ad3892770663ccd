import { Random } from "../sim/random.ts";
import { type Cost, costOf, excess, inputBytesMax } from "./cost.ts";
import type { Coverage } from "./coverage.ts";
import { Finding, type Target } from "./target.ts";

/** An input for which something does not hold that must. */
export class Failure extends Error {
  readonly input: Uint8Array;

  constructor(target: Target, input: Uint8Array, cause: unknown) {
    const text = cause instanceof Finding
      ? cause.message
      : cause instanceof Error
      ? cause.stack
      : String(cause);
    super(`${target.name}: ${text}`, { cause });
    this.input = input;
  }
}

/** Inputs between two looks at the coverage. */
const batch = 200;
/** Batches between two inputs of nearly a megabyte. */
const amplifyEach = 5;
/** So long in this process, and it is measured in one of its own. */
const suspiciousMs = 40;
/** One that is not suspicious is measured all the same, for its memory, so often. */
const measureMs = 5_000;

/**
 * Mutates inputs of one target, and keeps those that reach what none reached before: a block of the product, if there is
 * coverage, or an outcome in other words. The same seed makes the same inputs where nothing is measured.
 */
export class Fuzzer {
  readonly #target: Target;
  readonly #random: Random;
  readonly #coverage: Coverage | null;
  readonly #pool: Uint8Array[] = [];
  readonly #outcomes = new Set<string>();
  executions = 0;
  /** The dearest input that was measured. */
  dearest: Cost = { ms: 0, mib: 0 };

  constructor(target: Target, seed: number, coverage: Coverage | null = null) {
    this.#target = target;
    this.#random = new Random(seed);
    this.#coverage = coverage;
  }

  get inputs(): readonly Uint8Array[] {
    return this.#pool;
  }

  get outcomes(): number {
    return this.#outcomes.size;
  }

  /** Inputs to begin with. @throws {Failure} */
  async load(inputs: readonly Uint8Array[]): Promise<void> {
    for (const input of inputs) {
      await this.#judge(input);
      this.#pool.push(input);
    }
    this.#coverage?.keep(await this.#coverage.take());
  }

  /** So many mutants, without a look at time or coverage: the same ones for the same seed. @throws {Failure} */
  async runCount(count: number): Promise<void> {
    for (let index = 0; index < count; index++) {
      const input = this.#mutant();
      if (await this.#judge(input)) this.#pool.push(input);
    }
  }

  /** Until the clock says so. @throws {Failure} */
  async runUntil(isOver: () => boolean): Promise<void> {
    let measuredAtMs = performance.now();
    for (let batches = 0; !isOver(); batches++) {
      await this.#runBatch();
      if (batches % amplifyEach > 0) continue;
      const input = this.#target.amplify(this.#pick(), this.#random, this.#random.int(1_000, inputBytesMax));
      if (input.length > inputBytesMax) continue;
      const isDue = performance.now() > measuredAtMs + measureMs;
      if (await this.#timeOf(input) < suspiciousMs && !isDue) continue;
      measuredAtMs = performance.now();
      this.measure(input);
    }
  }

  /** Time and memory of one input, in a process of its own. @throws {Failure} if they are beyond the bounds. */
  measure(input: Uint8Array): void {
    const cost = costOf(this.#target.name, input);
    if (cost === null) return;
    this.dearest = { ms: Math.max(cost.ms, this.dearest.ms), mib: Math.max(cost.mib, this.dearest.mib) };
    const fault = excess(cost);
    if (fault !== null) {
      throw new Failure(this.#target, input, new Finding(`${input.length} bytes cost ${fault}`));
    }
  }

  async #runBatch(): Promise<void> {
    const inputs = Array.from({ length: batch }, () => this.#mutant());
    for (const input of inputs) if (await this.#judge(input)) this.#pool.push(input);
    const fresh = new Set(await this.#coverage?.take());
    if (fresh.size === 0) return;
    // Which of them was it? Each runs once more, alone.
    for (const input of inputs) {
      await this.#judge(input);
      const own = (await this.#coverage!.take()).filter((block) => fresh.delete(block));
      this.#coverage!.keep(own);
      if (own.length > 0 && !this.#pool.includes(input)) this.#pool.push(input);
    }
    this.#coverage!.keep([...fresh]);
  }

  #mutant(): Uint8Array {
    return this.#target.mutate(this.#pick(), this.#random, this.#pick()).slice();
  }

  /** Those that were found last more often. */
  #pick(): Uint8Array {
    const recent = Math.min(this.#pool.length, 20);
    return this.#random.perMille(300)
      ? this.#pool[this.#pool.length - this.#random.int(1, recent)]!
      : this.#random.pick(this.#pool);
  }

  /** Whether its outcome is a new one. */
  async #judge(input: Uint8Array): Promise<boolean> {
    this.executions++;
    try {
      const outcome = this.#target.check(input);
      const text = typeof outcome === "string" ? outcome : await outcome;
      const kind = text.split("\n", 1)[0]!.replace(/\d+/g, "#").slice(0, 100);
      if (this.#outcomes.has(kind)) return false;
      // Words of the input within a sentence must not make each a new outcome.
      if (this.#outcomes.size < outcomesMax) this.#outcomes.add(kind);
      return this.#outcomes.size < outcomesMax;
    } catch (error) {
      throw new Failure(this.#target, input, error);
    }
  }

  async #timeOf(input: Uint8Array): Promise<number> {
    const startMs = performance.now();
    await this.#target.subject(input);
    return performance.now() - startMs;
  }
}

const outcomesMax = 2_000;
