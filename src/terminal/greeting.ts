import type { Resumed } from "../master/types.ts";
import { type Address, formatAddress, isLoopback } from "../base/address.ts";
import { shellQuote } from "./shell_quote.ts";

const notEncrypted =
  "Connections are authenticated at connect; not encrypted, not protected against tampering";

export type Greeting = Readonly<{
  /** Where the master really listens, and where others reach it. */
  bound: Address;
  reachable: Address;
  /** The plugin as a slave is to name it: its path as it was typed, and its export if that is a whole plugin. */
  plugin: string;
  isInsecure: boolean;
  /** Whether other slaves are expected to join. */
  mayJoin: boolean;
}>;

/** A master's first lines. */
export function greetingLines({ bound, reachable, plugin, isInsecure, mayJoin }: Greeting): string[] {
  const lines = [`Taskmaster server running on '${formatAddress(bound)}'`];
  const join = [
    "taskmaster",
    "slave",
    plugin,
    "--host",
    formatAddress(reachable),
    ...(isInsecure ? ["--insecure"] : []),
  ];
  if (mayJoin) lines.push(`Join with: ${shellQuote(join)}`);
  if (isInsecure) lines.push("Insecure: no token is asked for, whoever can connect can take jobs");
  else if (!isLoopback(bound.host)) {
    lines.push(notEncrypted);
  }
  return lines;
}

/** A slave's first lines, of a connection to this host: what its connection is worth. */
export function slaveGreetingLines(host: string, isInsecure: boolean): string[] {
  if (isInsecure) return ["Insecure: no token proves the master, whoever listens there can hand out jobs"];
  return isLoopback(host) ? [] : [notEncrypted];
}

/** Says what is resumed. Of a fresh start there is nothing to say: none (null), or one that handed out nothing. */
export function resumeLine(resumed: Resumed | null, statePath: string): string | undefined {
  if (resumed === null || (resumed.handedOut === 0 && !resumed.complete)) return undefined;
  const { done, skipped, dead, stranded } = resumed;
  const settled = `${done + skipped + dead} jobs settled (${done} done, ${skipped} skipped, ${dead} dead)`;
  if (resumed.complete) {
    return `This run was finished: ${settled}. Only jobs that appeared since are handed out; --reset starts over. State: ${statePath}`;
  }
  return `Resuming: ${settled}, ${stranded} handed out and unfinished run first. State: ${statePath}`;
}
