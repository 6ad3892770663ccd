import { basename } from "node:path";
import type { Welcome } from "../protocol/messages.ts";
import type { Seat } from "./seat.ts";
import type { SlaveOptions } from "./types.ts";

/** Longest the first worker may take to load the plugin. */
const loadMs = 30_000;

/**
 * Decides whether the plugin is fit to run, before any job is taken: until one worker was prepared, a plugin that
 * does not load, or whose `setup` throws, ends the slave. Later on it only ends that worker.
 */
export class PluginGate {
  readonly #startedAtMs: number;
  #isLoaded = false;
  #isPrepared = false;

  constructor(nowMs: number) {
    this.#startedAtMs = nowMs;
  }

  loaded(): void {
    this.#isLoaded = true;
  }

  prepared(): void {
    this.#isPrepared = true;
  }

  /** A sentence that ends the slave, if this took too long. */
  late(nowMs: number): string | null {
    if (this.#isLoaded || nowMs - this.#startedAtMs < loadMs) return null;
    return `The plugin did not load within ${
      loadMs / 1000
    } s: move slow work from its top level into setup()`;
  }

  /** A sentence that ends the slave, if this worker's death does. */
  died(seat: Seat, reason: string): string | null {
    if (this.#isPrepared) return null;
    if (seat.isUnloadable) return reason;
    if (this.#isLoaded) return null;
    return `The worker process ended while it loaded the plugin: ${reason}`;
  }
}

/** The plugin as a slave names it to its master. */
export function pluginName(
  options: Pick<SlaveOptions, "pluginPath" | "exportName">,
  hash: Uint8Array,
): Welcome["plugin"] {
  return { name: basename(options.pluginPath), export: options.exportName ?? "default", hash };
}
