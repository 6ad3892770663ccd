const growthBytes = 64 << 20;

/** What the process would have been asked for, had it Bun's collector. */
export type Pretended = { collections: number };

/** Until the test is over, this process has a collector, and buffers that grew each time they are looked at. */
export function pretendCollector(t: { teardown(callback: () => unknown): unknown }): Pretended {
  const pretended = { collections: 0 };
  const { getBuiltinModule, memoryUsage } = process;
  let arrayBuffers = 0;
  const jsc = { fullGC: () => pretended.collections++ };
  process.getBuiltinModule =
    ((id: string) => id === "bun:jsc" ? jsc : getBuiltinModule.call(process, id)) as typeof getBuiltinModule;
  process.memoryUsage = Object.assign(() => {
    arrayBuffers += growthBytes;
    return { ...memoryUsage(), arrayBuffers, heapUsed: arrayBuffers };
  }, { rss: memoryUsage.rss });
  t.teardown(() => Object.assign(process, { getBuiltinModule, memoryUsage }));
  return pretended;
}
