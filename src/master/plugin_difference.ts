import { isSameBytes } from "../base/same_bytes.ts";

/** A plugin as both sides name it to each other. */
export type PluginName = Readonly<{ name: string; hash: Uint8Array }>;

/**
 * What a person should know of a slave's plugin, as the end of a sentence about that slave; null if it is the
 * same as the master's, or if the slave named none. Never a reason to refuse: master and slave may be given
 * different files on purpose.
 */
export function pluginDifference(own: PluginName, other: PluginName | null): string | null {
  if (other === null) return null;
  if (other.name !== own.name) {
    return `runs the plugin '${other.name}', this master '${own.name}': is that meant?`;
  }
  if (isSameBytes(own.hash, other.hash)) return null;
  return `runs another version of '${own.name}' than this master: copy the plugin to it again, unless that is meant.`;
}
