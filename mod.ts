import { mainProcess } from "./src/cli/main.ts";

export * from "./src/base/errors.ts";
export type { Address } from "./src/base/address.ts";
export type { Log, LogLevel } from "./src/base/log.ts";
export type { Outcome, RunStatus } from "./src/core/types.ts";
export type {
  Context,
  JobContext,
  Jobs,
  Plugin,
  PluginLog,
  SourceContext,
  Summary,
} from "./src/plugin/types.ts";
export { type LoadedPlugin, loadPlugin } from "./src/plugin/load_plugin.ts";
export type { KeyPair } from "./src/link/certificate.ts";
export type { SlaveTls, Trust } from "./src/link/tls_client.ts";
export type { MasterTls } from "./src/link/tls_gate.ts";
export { runMaster, startMaster } from "./src/master/master.ts";
export type { Master, MasterEvent, MasterOptions, MasterResult, MasterStatus } from "./src/master/types.ts";
export { runSlave, startSlave } from "./src/slave/slave.ts";
export type { Slave, SlaveOptions, SlaveResult, SlaveStatus } from "./src/slave/slave.ts";
export { main } from "./src/cli/main.ts";

if (import.meta.main === undefined && process.argv[1] === import.meta.filename) {
  // Only Node before 24.2 does not say which module is the main one.
  process.stderr.write(
    `taskmaster: Node ${process.version} is too old to run the source: take 24.2 or later.\n`,
  );
  process.exitCode = 2;
}
if (import.meta.main) void mainProcess(process.argv.slice(2));
