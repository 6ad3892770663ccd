import t, { type Test } from "tap";
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { stateJson } from "../../src/cli/commands/state.ts";
import { readState } from "../../src/state/store.ts";
import type { Program, Told } from "../kit/program.ts";
import { root, runtimes } from "../kit/runtimes.ts";
import { Scenario, tokenText } from "../kit/scenario.ts";

/** One line of the records of scripted.ts. */
export type Entry = { pid: number; kind: string; id: number; atMs: number; more: string };

/** Silence is noticed after 1.5 s; there is no shorter heartbeat. */
export const heartbeat: readonly string[] = ["--heartbeat", "500ms"];
export const silenceMs = 1_500;

/** No process of a long scenario lives longer. */
const longMsMax = 300_000;

const isLong = process.env.TASKMASTER_TEST_LONG !== undefined;

/** A scenario with scripted.ts as its plugin. */
export class Stage extends Scenario {
  readonly plugin = join(root, "test", "e2e", "scripted.ts");

  scripted(script: string, words: readonly string[] = [], port = 0): Program {
    return this.start(runtimes.binary, [
      ...this.#masterWords(this.plugin, port),
      `script=${script}`,
      ...words,
    ]);
  }

  /** A master of a plugin that the scenario wrote. */
  masterOf(plugin: string, words: readonly string[] = [], port = 0, command = runtimes.binary): Program {
    return this.start(command, [...this.#masterWords(plugin, port), ...words]);
  }

  #masterWords(plugin: string, port: number): string[] {
    return [
      "master",
      plugin,
      `dir=${this.folder}`,
      "--state-dir",
      this.folder,
      "--host",
      `127.0.0.1:${port}`,
      "--json",
    ];
  }

  /** A slave with one worker, unless it is told otherwise. */
  hand(
    port: number,
    words: readonly string[] = [],
    plugin = this.plugin,
    command = runtimes.binary,
  ): Program {
    const procs = words.includes("--procs") ? [] : ["--procs", "1"];
    return this.start(command, ["slave", plugin, "--host", `127.0.0.1:${port}`, ...procs, ...words]);
  }

  /** Writes a plugin into the scenario's folder; returns its path. */
  write(name: string, text: string): string {
    const path = join(this.folder, name);
    writeFileSync(path, text);
    return path;
  }

  open(gate = ""): void {
    this.write(`open.${gate}`, "");
  }

  unlink(name: string): void {
    rmSync(join(this.folder, name), { force: true });
  }

  /** What was recorded of one kind, of one job if it is named; in order of time. */
  entries(kind: string, id?: number): Entry[] {
    const found: Entry[] = [];
    for (const name of readdirSync(this.folder).filter((name) => name.endsWith(".records"))) {
      for (const line of readFileSync(join(this.folder, name), "utf8").split("\n").slice(0, -1)) {
        const [what, job, atMs, more = ""] = line.split(" ");
        if (what !== kind || (id !== undefined && Number(job) !== id)) continue;
        found.push({ pid: parseInt(name), kind, id: Number(job), atMs: Number(atMs), more });
      }
    }
    return found.sort((a, b) => a.atMs - b.atMs);
  }

  /** The attempts that were begun, without repetition: [1] says that nobody was ever charged. */
  attempts(): number[] {
    return [...new Set(this.entries("B").map(({ more }) => Number(more)))].sort();
  }

  /** The state file, as `taskmaster state --json` shows it. */
  async state(key = "scripted"): Promise<Told> {
    return JSON.parse(stateJson(await readState(join(this.folder, `${key}.state`))));
  }

  /** Waits until the state file says so. */
  async until(key: string, holds: (state: Told) => boolean): Promise<void> {
    for (const endMs = Date.now() + 20_000; !holds(await this.state(key).catch(() => ({})));) {
      if (Date.now() > endMs) throw new Error(`The state of ${key} never came to this: ${holds}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  /** A shared library of this C code, or null where there is no compiler. */
  compileC(name: string, code: string): string | null {
    const library = join(this.folder, `${name}.so`);
    const args = ["-shared", "-fPIC", "-o", library, this.write(`${name}.c`, code), "-ldl"];
    return spawnSync("cc", args).status === 0 ? library : null;
  }

  read(name: string): Buffer {
    return readFileSync(join(this.folder, name));
  }

  has(name: string): boolean {
    return existsSync(join(this.folder, name));
  }
}

/** The token of every scenario, for a slave in a test's hands. */
export const token: Uint8Array = new TextEncoder().encode(tokenText);

type Play = (t: Test, stage: Stage) => Promise<void>;

/** A test on a stage of its own, which is cleared afterwards. */
export function row(name: string, play: Play, options: { skip?: boolean | string } = {}): void {
  enact(name, play, options);
}

/** One that takes half a minute or more: `npm run faults:long` plays it. */
row.long = (name: string, play: Play): void =>
  enact(name, play, { skip: isLong ? false : "long: npm run faults:long" }, longMsMax);

function enact(name: string, play: Play, options: { skip?: boolean | string }, lifeMsMax?: number): void {
  t.test(name, { buffered: true, ...options }, async (t) => {
    const stage = new Stage(lifeMsMax);
    t.teardown(() => stage.end());
    await play(t, stage);
  });
}
