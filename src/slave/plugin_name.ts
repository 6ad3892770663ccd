import { basename } from "node:path";
import type { Welcome } from "../protocol/messages.ts";
import type { SlaveOptions } from "./types.ts";

/** The plugin as a slave names it to its master. */
export function pluginName(
  options: Pick<SlaveOptions, "pluginPath" | "exportName">,
  hash: Uint8Array,
): Welcome["plugin"] {
  return { name: basename(options.pluginPath), export: options.exportName ?? "default", hash };
}
