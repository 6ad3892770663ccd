import type { Log } from "../base/log.ts";
import type { MasterTls } from "../link/tls_gate.ts";
import { version } from "../base/version.ts";
import type { MasterEvent, MasterOptions } from "../master/types.ts";
import type { LoadedPlugin } from "../plugin/load_plugin.ts";
import type { CommandLine } from "./invocation.ts";
import type { Settings } from "./options.ts";
import type { RunName } from "./run_name.ts";
import { hostDefault } from "./settings.ts";
import { tokenBytes } from "./token/token_text.ts";

/** What the command line says besides the settings. */
export type MasterParts = Readonly<{
  line: CommandLine;
  plugin: LoadedPlugin;
  args: Readonly<Record<string, string>>;
  name: RunName;
  /** Undefined with `--insecure`. */
  tokenText: string | undefined;
  tls: MasterTls | undefined;
  log: Log;
  onEvent: (event: MasterEvent) => void;
}>;

/** A master's options, of the settings of `master` or `run`. */
export function masterOptions(settings: Settings, parts: MasterParts): MasterOptions {
  const { line, plugin, args, name, tokenText, tls, log, onEvent } = parts;
  const isRun = line.command === "run";
  return {
    ...(settings.host ?? hostDefault(line.command)),
    ...name,
    // Whoever names a port wants that one.
    portFallback: isRun && settings.host === undefined,
    plugin,
    args,
    token: tokenText === undefined ? null : tokenBytes(tokenText),
    tls,
    reset: settings.reset,
    force: settings.force,
    jobsMax: settings.size,
    bytesMax: settings["size-bytes"],
    failuresMax: settings.attempts,
    backoffMs: settings.backoff,
    timeoutMs: settings.timeout ?? 0,
    maxOutageMs: settings["max-outage"],
    maxDeadBytes: settings["max-dead"],
    heartbeatMs: settings.heartbeat,
    checkpointMs: settings.checkpoint,
    graceMs: settings.grace,
    // The slave of a `run` ended with its master: nobody comes back for what it held.
    reclaimMs: isRun ? 0 : 3 * settings.heartbeat,
    version,
    logsAttempts: settings["log-level"] === "debug" && !settings.quiet,
    log,
    onEvent,
  };
}
