// Run by lock.test.ts under other runtimes: opens a state, says how that went, holds it until its stdin ends.
import process from "node:process";
import { open, stateOf } from "./fixtures.ts";

const [dir, method] = process.argv.slice(2) as [string, string];
const runtime = "Deno" in globalThis ? "deno" : "Bun" in globalThis ? "bun" : "node";
const say = (what: unknown) => process.stdout.write(`${JSON.stringify(what)}\n`);
// Whatever goes wrong with the test, nothing is left running.
setTimeout(() => process.exit(9), 30_000).unref();
try {
  const store = await open(dir, {
    isKernelLock: method === "kernel",
    address: "10.0.0.1:5050",
    newRunId: () => `run-${process.pid}`,
  });
  await store.save(stateOf((store.loaded?.done ?? 0) + 1));
  say({ runtime, pid: process.pid, epoch: store.epoch, runId: store.runId });
  process.stdin.resume();
  process.stdin.on("end", async () => {
    await store.close();
    process.exit(0);
  });
} catch (error) {
  say({ runtime, pid: process.pid, error: (error as Error).name, message: (error as Error).message });
  process.exit(6);
}
