import { basename } from "node:path";
import type { Log } from "../base/log.ts";
import type { Welcome } from "../protocol/messages.ts";
import type { Seat } from "./seat.ts";
import type { SlaveOptions } from "./types.ts";

/** Longest the first worker may take to load the plugin. */
const loadMs = 30_000;
/** A `setup` that runs for so long may never end. */
const setupMs = 30_000;

/**
 * Decides whether the plugin is fit to run, before any job is taken: until one worker was prepared, a plugin that
 * does not load, or whose `setup` throws or ends its process, ends the slave. Later on it only ends that worker.
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

  /** Warns, once for each worker, if its `setup` takes so long that it may never end. */
  watch(seats: readonly Seat[], nowMs: number, log: Log): void {
    for (const seat of seats) {
      if (seat.state !== "preparing" || nowMs - seat.setupAtMs < setupMs) continue;
      seat.setupAtMs = Infinity;
      const { pid } = seat.process;
      log("warn", `setup has run for ${setupMs / 1000} s: until it ends, this worker takes no jobs`, { pid });
    }
  }

  /** A sentence that ends the slave, if this worker's death does. */
  died(seat: Seat, reason: string): string | null {
    if (this.#isPrepared) return null;
    if (seat.isUnloadable) return reason;
    const how = reason.replace(/^handler /, "");
    if (seat.state === "preparing" && seat.verdict === null) {
      return `setup ended the process (${how})`;
    }
    if (this.#isLoaded) return null;
    return `The worker process ended while it loaded the plugin: ${how}`;
  }
}

/** The plugin as a slave names it to its master. */
export function pluginName(
  options: Pick<SlaveOptions, "pluginPath" | "exportName">,
  hash: Uint8Array,
): Welcome["plugin"] {
  return { name: basename(options.pluginPath), export: options.exportName ?? "default", hash };
}

/** A plugin's own setting, if it is a whole number from 1. */
export function wholeOption(value: unknown): number | undefined {
  const number = typeof value === "string" ? Number(value) : value;
  return Number.isSafeInteger(number) && (number as number) >= 1 ? number as number : undefined;
}
