import { shortHash } from "../base/fingerprint.ts";
import { isSameBytes } from "../base/same_bytes.ts";
import type { Introduction, Welcome } from "./messages.ts";

// Whether a slave may run what it was started with for this master. Both sides ask, and come to the same answer.

type MasterPlugin = Pick<Welcome["plugin"], "name" | "hash">;
type SlavePlugin = NonNullable<Introduction["plugin"]>;

/**
 * How a slave's plugin differs from its master's, if that is a reason to refuse it; null if it is none.
 *
 * A file of the master's name must be the master's code. A file of another name is meant only if the slave was told
 * which of its exports to run. With `anyPlugin` everything is meant.
 */
export function pluginFault(
  master: MasterPlugin,
  slave: SlavePlugin | null,
  anyPlugin: boolean,
): "code" | "name" | null {
  if (slave === null || anyPlugin) return null;
  if (slave.name !== master.name) return slave.export === "default" ? "name" : null;
  return isSameBytes(slave.hash, master.hash) ? null : "code";
}

/** Why a master refuses this slave, as the end of a sentence about it; null if it does not. */
export function masterRefusal(
  master: MasterPlugin,
  { plugin: slave, anyPlugin = false }: Pick<Introduction, "plugin" | "anyPlugin">,
): string | null {
  const fault = pluginFault(master, slave, anyPlugin);
  if (fault === null) return null;
  return fault === "code"
    ? `its ${inWords(slave!)} is other code than this master's (${shortHash(master.hash)}); ` +
      "copy the plugin, and what it imports, to it again"
    : `it was started with ${inWords(slave!)}, and this master with ${inWords(master)}`;
}

/** The same as its slave says it, with what to do. */
export function slaveRefusal(
  master: MasterPlugin,
  slave: SlavePlugin,
  where: string,
  anyPlugin: boolean,
): string | null {
  const fault = pluginFault(master, slave, anyPlugin);
  if (fault === null) return null;
  return fault === "code"
    ? `The ${slave.name} of the master at ${where} is other code (${
      shortHash(master.hash)
    }) than this slave's ` +
      `(${
        shortHash(slave.hash)
      }), in itself or in a file or package that it imports. Copy it from the master's ` +
      "machine, with what it imports, and start again; --any-plugin runs it as it is"
    : `The master at ${where} runs ${inWords(master)}, and this slave was started with ${
      inWords(slave)
    }. Start it ` +
      `with ${master.name}; or say which export is meant (${slave.name}:handleJob); or --any-plugin`;
}

/** What is to be said of a slave that may run although its plugin is not the master's; null if it is the same. */
export function pluginRemark(
  master: MasterPlugin,
  { plugin: slave, anyPlugin = false }: Pick<Introduction, "plugin" | "anyPlugin">,
): string | null {
  if (slave === null || !anyPlugin || pluginFault(master, slave, false) === null) return null;
  return `runs ${inWords(slave)}, not ${inWords(master)}: it was started with --any-plugin`;
}

function inWords({ name, hash }: Readonly<{ name: string; hash: Uint8Array }>): string {
  return `${name} (${shortHash(hash)})`;
}
