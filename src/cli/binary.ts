import { beginTuned } from "../slave/spawn_self.ts";

// Entry of the compiled binary: the program without the public API, which would load a master and a slave into
// every process of it. What is loaded before a process begins anew is loaded twice.

const argv = process.argv.slice(2);
beginTuned(argv);
void start();

async function start(): Promise<void> {
  const { mainProcess } = await import("./main.ts");
  await mainProcess(argv);
}
