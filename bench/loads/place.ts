import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { descendantsOf } from "../proc.ts";
import { Program } from "../../test/kit/program.ts";
import { binary, root } from "../../test/kit/runtimes.ts";
import { tokenText } from "../../test/kit/scenario.ts";

/** No process of a measurement lives longer. */
const lifeMsMax = 240_000;

export function pluginPath(name: string): string {
  return join(root, "bench", "loads", "plugins", `${name}.ts`);
}

/** What a status event says of the run; `atMs` is the wall clock. */
export type Status = Readonly<{ atMs: number; done: number; inFlight: number; slaves: number }>;

/** What a master said of its run since a moment of the wall clock. */
export function statusesOf(master: Program, fromMs = 0): Status[] {
  return master.events("status")
    .map((event) => ({ ...(event as unknown as Status), atMs: Date.parse(event.at) }))
    .filter(({ atMs }) => atMs >= fromMs);
}

const places = new Set<Place>();
let isStopped = false;

/** Ends all processes, and lets none be started any more: for a command that is told to stop. */
export function endPlaces(): void {
  isStopped = true;
  for (const place of places) place[Symbol.dispose]();
}

/** A folder for one measurement, and its processes; both are gone once it is disposed of. */
export class Place implements Disposable {
  readonly folder: string = mkdtempSync(join(tmpdir(), "taskmaster-loads-"));
  readonly #programs: Program[] = [];

  constructor() {
    places.add(this);
  }

  /** The binary, with a free port and its state in this folder if it is a master. */
  taskmaster(
    command: "run" | "master" | "slave",
    plugin: string,
    words: readonly (string | number)[],
  ): Program {
    if (!existsSync(binary)) throw new Error("dist/taskmaster is missing: run `npm run compile` first.");
    const place = command === "slave" ? [] : ["--host", "127.0.0.1:0", "--state-dir", this.folder];
    return this.start(binary, [command, plugin, ...words, ...place, "--json", "--no-progress"]);
  }

  /** A script of this folder, in Bun. */
  script(name: string, words: readonly (string | number)[]): Program {
    return this.start(process.execPath, [join(root, "bench", "loads", `${name}.ts`), ...words]);
  }

  start(command: string, words: readonly (string | number)[]): Program {
    if (isStopped) throw new Error(`Cannot start ${command}: the measurement was stopped.`);
    const env = {
      PATH: process.env.PATH,
      HOME: this.folder,
      XDG_CONFIG_HOME: this.folder,
      TASKMASTER_TOKEN: tokenText,
    };
    const options = { cwd: this.folder, env, lifeMsMax, stdin: "pipe" } as const;
    const program = new Program([command, ...words.map(String)], options);
    this.#programs.push(program);
    return program;
  }

  /** Ends what still runs, by pid, with the children of its children. */
  [Symbol.dispose](): void {
    const running = this.#programs.filter(({ hasEnded }) => !hasEnded);
    const pids = running.flatMap(({ pid }) => [...descendantsOf(pid).map(({ pid }) => pid), pid]);
    for (const pid of pids) kill(pid);
    places.delete(this);
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 3 });
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // it ended by itself
  }
}
