import type { Command } from "./invocation.ts";
import type { CommandName } from "./options.ts";

const loaders: Readonly<Record<CommandName, () => Promise<Command>>> = {
  run: async () => (await import("./commands/run.ts")).run,
  master: async () => (await import("./commands/master.ts")).master,
  slave: async () => (await import("./commands/slave.ts")).slave,
  state: async () => (await import("./commands/state.ts")).state,
  token: async () => (await import("./commands/token.ts")).token,
  cert: async () => (await import("./commands/cert.ts")).cert,
  help: async () => (await import("./commands/help.ts")).help,
  version: async () => (await import("./commands/version.ts")).version,
};

/** Loads the code of a command, and of no other: help comes at once, whatever a master needs. */
export function loadCommand(name: CommandName): Promise<Command> {
  return loaders[name]();
}
