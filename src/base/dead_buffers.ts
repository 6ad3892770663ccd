/** The runtime is asked after so many bytes, not at each block: an answer costs it some 12 microseconds. */
const askBytes = 1 << 20;
/** Buffers may always grow by so much before a collection, which takes 4 to 14 ms, the more where all cores are busy. */
const growthBytesMin = 6 << 20;

/** What is needed of the runtime. */
export interface Collector {
  /** Bytes of all buffers that are not collected yet, dead or alive; `heapUsed` is those and all other objects. */
  memoryUsage(): Readonly<{ arrayBuffers: number; heapUsed: number }>;
  /** Collects all that is dead before it returns. Takes time for each object that lives. */
  collect(): void;
}

/**
 * Has dead buffers collected before there are many. Bun's collector first looks at what is young only, and jobs
 * that waited in a buffer are not young any more: left to itself it lets the dead become twice what lives.
 */
export class DeadBuffers {
  readonly #collector: Collector | null;
  /** Since the runtime was asked. */
  #madeBytes = 0;
  /** Of the buffers, when they were fewest since the last collection: what lives. */
  #leftBytes = 0;

  constructor(collector: Collector | null = bunCollector()) {
    this.#collector = collector;
  }

  /** Buffers of so many bytes were made; they die sooner or later. */
  made(bytes: number): void {
    this.#madeBytes += bytes;
    if (this.#madeBytes < askBytes || this.#collector === null) return;
    this.#madeBytes = 0;
    const { arrayBuffers, heapUsed } = this.#collector.memoryUsage();
    this.#leftBytes = Math.min(this.#leftBytes, arrayBuffers);
    // A collection looks at all that lives: where that is much, the dead must be worth it.
    const living = Math.max(this.#leftBytes, heapUsed - arrayBuffers);
    if (arrayBuffers - this.#leftBytes < Math.max(growthBytesMin, living / 2)) return;
    this.#collector.collect();
    this.#leftBytes = this.#collector.memoryUsage().arrayBuffers;
  }
}

/** Bun's; null under Deno and Node, whose V8 goes by the bytes of buffers and needs no help. */
function bunCollector(): Collector | null {
  const jsc = process.getBuiltinModule("bun:jsc") as { fullGC(): void } | undefined;
  if (jsc === undefined) return null;
  // Not `Bun.gc(true)`: that throws compiled code away too, and takes three times as long.
  return { memoryUsage: () => process.memoryUsage(), collect: () => jsc.fullGC() };
}
