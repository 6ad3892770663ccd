/** A supervisor in a process of its own, to be killed: port, procs. */
import { fileURLToPath } from "node:url";
import { startSlave } from "../../src/slave/slave.ts";

const [port, procs] = process.argv.slice(2).map(Number);
await startSlave({
  pluginPath: fileURLToPath(new URL("handlers.ts", import.meta.url)),
  exportName: undefined,
  host: "127.0.0.1",
  port: port!,
  token: new Uint8Array(32),
  procs,
  concurrency: 1,
  graceMs: undefined,
  command: {
    command: process.execPath,
    args: [fileURLToPath(new URL("entry.ts", import.meta.url)), "worker"],
  },
  log: () => {},
}).finished;
