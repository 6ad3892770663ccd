import { chmodSync, copyFileSync, existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Program } from "../test/kit/program.ts";
import { binary, bun, deno, root } from "../test/kit/runtimes.ts";
import { tokenText } from "../test/kit/scenario.ts";
import { type Measured, type Rig, tunedEnvironment } from "./rig.ts";
import type { Load, Presence } from "./system.ts";

const plugin = join(root, "bench", "plugins", "empty.ts");
const certificates = join(root, "test", "certificates");

/** How the program is started: as the binary, or from source under Deno. */
export type Start = "binary" | "deno";
const starts: Readonly<Record<Start, readonly [string, ...string[]]>> = {
  binary: [binary],
  deno: [deno, "run", "-A", join(root, "mod.ts")],
};

export type Setup = Readonly<{
  start: Start;
  /** One command, or a master and a slave that connect over loopback. */
  command: "run" | "master";
  /** Whether master and slave speak TLS. */
  tls?: boolean;
  procs: number;
  /** Which export of bench/plugins/empty.ts. */
  member: "default" | "asyncSource" | "asyncHandler" | "awaitingHandler";
}>;

export function findTaskmaster(start: Start): Presence {
  if (start === "deno") return { version: "source" };
  if (!existsSync(binary)) return { missing: "dist/taskmaster is not there: run `npm run compile`" };
  return { version: "binary" };
}

/** Runs jobs that cost nothing, and checks that each was done, once. */
export async function runTaskmaster(setup: Setup, { shape, jobs }: Load, rig: Rig): Promise<Measured> {
  const [command, ...first] = starts[setup.start];
  const target = setup.member === "default" ? plugin : `${plugin}:${setup.member}`;
  const words = [
    target,
    `jobs=${jobs}`,
    `shape=${shape}`,
    `folder=${rig.folder}`,
    `workers=${setup.procs}`,
  ];
  const state = ["--state-dir", rig.folder];
  const procs = ["--procs", String(setup.procs)];
  const env = { TASKMASTER_TOKEN: tokenText };
  let program: Program, slave: Program | null = null;
  if (setup.command === "run") {
    const options = [...state, ...procs, "--host", "127.0.0.1:0", "--quiet"];
    program = rig.start(command, [...first, "run", ...words, ...options], env);
  } else {
    const [atMaster, atSlave] = setup.tls ? tlsWords(rig) : [[], []];
    const host = ["--host", "127.0.0.1:0"];
    program = rig.start(command, [...first, "master", ...words, ...state, ...host, ...atMaster], env);
    const [, port] = await program.printed(/^Taskmaster server running on '127\.0\.0\.1:(\d+)'$/m);
    const options = [...procs, "--host", `127.0.0.1:${port}`, "--quiet", ...atSlave];
    slave = rig.start(command, [...first, "slave", target, ...options], env);
  }
  const measured = await rig.measure(program);
  for (const ended of [await program.ended, await slave?.ended ?? 0]) {
    if (ended !== 0) throw new Error(`taskmaster ended with ${ended}.`);
  }
  const { done, repeated } = JSON.parse(readFileSync(join(rig.folder, "summary"), "utf8"));
  if (done !== jobs || repeated !== 0) throw new Error(`${done} of ${jobs} jobs, ${repeated} repeated.`);
  return measured;
}

/** What a master and a slave need for TLS. A key that others may read is refused, and a checkout leaves it so. */
function tlsWords(rig: Rig): readonly [string[], string[]] {
  const key = join(rig.folder, "key.pem");
  copyFileSync(join(certificates, "master.key"), key);
  chmodSync(key, 0o600);
  const cert = join(certificates, "master.pem"), ca = join(certificates, "ca.pem");
  return [["--tls-cert", cert, "--tls-key", key], ["--tls", "--tls-ca", ca]];
}

/** The cbor-x loop without any bookkeeping, of bench/bare_loop.ts; tuned, it has taskmaster's settings of sockets and of Bun. */
export function runBareLoop(
  start: Start,
  { shape, jobs }: Load,
  rig: Rig,
  isTuned: boolean,
): Promise<Measured> {
  const [command, ...first] = start === "deno" ? [deno, "run", "-A"] as const : [bun] as const;
  const words = [
    ...first,
    join(root, "bench", "bare_loop.ts"),
    shape,
    String(jobs),
    isTuned ? "tuned" : "plain",
  ];
  return rig.measure(rig.start(command, words, isTuned ? tunedEnvironment : {}));
}
