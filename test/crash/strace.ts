import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import type { Program } from "../kit/program.ts";
import type { Scenario } from "../kit/scenario.ts";

/** Why strace cannot be used here, or false. */
export function straceMissing(): string | false {
  const { error, status, stderr } = spawnSync("strace", ["-f", "-e", "trace=none", "true"], {
    encoding: "utf8",
    timeout: 10_000,
  });
  if (error !== undefined) return `strace cannot be started: ${error.message}`;
  return status === 0 ? false : `strace cannot trace here: ${stderr.trim()}`;
}

/** A system call as strace wrote it: its thread, and its line from the name on, whole even if another came between. */
export type Call = Readonly<{ thread: string; text: string }>;

/** The calls of a trace (`strace -f -y`) in the order in which they began. One that was killed ends in `unfinished`. */
export function callsOf(trace: string): Call[] {
  const calls: { thread: string; text: string }[] = [];
  const open = new Map<string, { thread: string; text: string }>();
  for (const line of trace.split("\n")) {
    const [, thread = "", text = ""] = /^(\d+) +(.*)$/.exec(line) ?? [];
    const resumed = /^<\.\.\. \w+ resumed>(.*)$/.exec(text);
    if (resumed !== null) {
      const call = open.get(thread);
      if (call !== undefined) call.text = call.text.replace(/ <unfinished \.\.\.>$/, "") + resumed[1]!;
    } else if (/^\w+\(/.test(text)) {
      const call = { thread, text };
      calls.push(call);
      open.set(thread, call);
    }
  }
  return calls;
}

export function readCalls(path: string): Call[] {
  return existsSync(path) ? callsOf(readFileSync(path, "utf8")) : [];
}

/** Whether a call was never carried out: its error was made up, or its process killed at its entry. */
export function wasHit({ text }: Call): boolean {
  return text.endsWith("(INJECTED)") || text.endsWith("<unfinished ...>") || text.endsWith(" = ?");
}

export class Tracer {
  readonly #program: Program;
  readonly #path: string;
  readonly #traced: readonly string[];

  /** @param traced Processes or threads that strace was told of. */
  constructor(program: Program, path: string, traced: readonly string[]) {
    this.#program = program;
    this.#path = path;
    this.#traced = traced;
  }

  /** Resolves when every thread is traced; what was called before is not seen. */
  async attached(): Promise<void> {
    for (const id of this.#traced) await this.#program.printed(new RegExp(`strace: Process ${id} attached`));
  }

  /** All calls, once the traced process has ended. */
  async calls(): Promise<Call[]> {
    await this.#program.ended;
    return readCalls(this.#path);
  }
}

/**
 * Traces calls of a running process; `words` say which, and what is done to them.
 *
 * @param mainIsSpared Not those of its main thread, which asks now and then how much memory there is.
 */
export function trace(
  scenario: Scenario,
  pid: number,
  path: string,
  words: readonly string[],
  mainIsSpared = false,
): Tracer {
  const traced = mainIsSpared
    ? readdirSync(`/proc/${pid}/task`).filter((thread) => thread !== String(pid))
    : [String(pid)];
  const whom = [...(mainIsSpared ? [] : ["-f"]), ...traced.flatMap((id) => ["-p", id])];
  return new Tracer(
    scenario.start(["strace"], ["-y", "-s", "16", "-o", path, ...words, ...whom]),
    path,
    traced,
  );
}
