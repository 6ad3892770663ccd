import { realpathSync } from "node:fs";
import { mainProcess } from "./src/cli/main.ts";
import { useImportMap } from "./src/plugin/plugin_code.ts";

export * from "./src/lib/errors.ts";
export type { Address } from "./src/lib/units.ts";
export type { Log, LogLevel } from "./src/lib/log.ts";
export type { Outcome, RunCounts, RunStatus } from "./src/core/types.ts";
export type {
  AnyPlugin,
  ArgRows,
  ArgsOf,
  ArgTexts,
  ArgValues,
  Context,
  JobContext,
  Jobs,
  Plugin,
  PluginLog,
  SourceContext,
  Summary,
  Throttled,
} from "./src/plugin/types.ts";
export { type LoadedPlugin, loadPlugin } from "./src/plugin/load_plugin.ts";
export type { KeyPair } from "./src/link/tls.ts";
export type { SlaveTls, Trust } from "./src/link/tls.ts";
export type { MasterTls } from "./src/link/tls.ts";
export { runMaster, startMaster } from "./src/master/master.ts";
export type { Master, MasterOptions, MasterResult } from "./src/master/types.ts";
export type { MasterEvent, MasterStatus, RunReason, SlaveRow, Snapshot } from "./src/observe/events.ts";
export { reasonInWords } from "./src/observe/phrases.ts";
export { runSlave, startSlave } from "./src/slave/slave.ts";
export type { Slave, SlaveOptions, SlaveResult, SlaveStatus } from "./src/slave/slave.ts";
export { main } from "./src/cli/main.ts";

/**
 * Whether this module is the program. Some releases of Node do not say so of a module in TypeScript (24.2), or of any
 * (before): then the file that was started is compared, through all links.
 */
function isProgram(): boolean {
  if (import.meta.main) return true;
  const { argv: [, started], versions } = process;
  const own = import.meta.filename;
  if (versions.bun !== undefined || versions.deno !== undefined || !started || !own) return false;
  try {
    return realpathSync(started) === realpathSync(own);
  } catch {
    return false; // what was started is no file
  }
}

/** Node before 24 names its sockets otherwise than the other runtimes: two masters of one run would not see each other. */
const nodeMajorMin = 24;

function isTooOld({ bun, deno, node }: NodeJS.ProcessVersions): boolean {
  return bun === undefined && deno === undefined && Number.parseInt(node) < nodeMajorMin;
}

if (process.versions.deno !== undefined) useImportMap((specifier) => import.meta.resolve(specifier));

if (isProgram()) {
  if (isTooOld(process.versions)) {
    process.stderr.write(
      `taskmaster: Node ${process.version} is too old to run the source: take ${nodeMajorMin} or later.\n`,
    );
    process.exitCode = 2;
  } else void mainProcess(process.argv.slice(2));
}
