import { basename } from "node:path";
import { type Log, silentWaitMs, since } from "../lib/log.ts";
import type { Welcome } from "../protocol/messages.ts";
import type { SlaveOptions } from "./types.ts";
import type { WorkerHandle } from "./worker_handle.ts";

/** Longest the first worker may take to load the plugin. */
const loadMs = 30_000;

/** Who is killed may be so by the machine or a person, so it is tried again, but not for ever: a plugin can crash its process. */
const killedMax = 3;
const likelyCauses: ReadonlyMap<string, string> = new Map([
  ["SIGKILL", ", as is done where memory runs out"],
  ["EAGAIN", ": this user may start no more processes and threads (`ulimit -u`)"],
  ["SIGABRT", ", as a runtime does where it may start no more threads (`ulimit -u`)"],
]);

/** What a worker does in each state, as far as it is the user's code. */
const busyWith: Readonly<Record<WorkerHandle["state"], string | null>> = {
  starting: "loads the plugin",
  loaded: null,
  preparing: "is in setup",
  ready: null,
  leaving: "is in teardown",
};

/**
 * Decides whether the plugin is fit to run, before any job is taken: until one worker was prepared, a plugin that
 * does not load, or whose `setup` throws or ends its process, ends the slave. Later on it only ends that worker.
 */
export class PluginReadiness {
  readonly #startedAtMs: number;
  #isLoaded = false;
  #isPrepared = false;
  /** Per worker the state of which it was logged that it lasts long. */
  readonly #told = new WeakMap<WorkerHandle, WorkerHandle["state"]>();
  /** Workers that were killed before one was prepared. */
  #killed = 0;

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

  /**
   * What a worker has been in for 10 s that is no job, in words: the one that began first. Null if none has been.
   * Of each it is logged once.
   */
  watch(handles: readonly WorkerHandle[], nowMs: number, log: Log): string | null {
    let longest: { text: string; sinceMs: number } | null = null;
    for (const handle of handles) {
      const { state, sinceMs, process: { pid } } = handle;
      const what = busyWith[state];
      if (what === null || nowMs - sinceMs < silentWaitMs) continue;
      const text = since(`worker ${pid} ${what}`, sinceMs, nowMs);
      if (this.#told.get(handle) !== state) log("warn", `${text}: until that ends, it takes no jobs`);
      this.#told.set(handle, state);
      if (longest === null || sinceMs < longest.sinceMs) longest = { text, sinceMs };
    }
    return longest?.text ?? null;
  }

  /** A sentence that ends the slave, if this worker's death does. */
  died(handle: WorkerHandle, reason: string): string | null {
    if (this.#isPrepared) return null;
    if (handle.isUnloadable) return reason;
    const isInSetup = handle.state === "preparing" && handle.verdict === null;
    if (!isInSetup && this.#isLoaded) return null;
    const [, signal] = /^(?:killed by|cannot be started:) (\w+)/.exec(reason) ?? [];
    if (signal !== undefined && ++this.#killed < killedMax) return null;
    const how = reason.replace(/^handler /, "") + (likelyCauses.get(signal ?? "") ?? "");
    return isInSetup
      ? `setup ended the process (${how})`
      : `The worker process ended while it loaded the plugin: ${how}`;
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
