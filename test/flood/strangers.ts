import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { constants, setPriority } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { socketName } from "../../src/state/lock.ts";
import { runtimes } from "../kit/runtimes.ts";
import { childrenOf } from "../kit/processes.ts";
import { until } from "../kit/until.ts";
import { Stranger } from "../e2e/stranger.ts";
import { Field, type Figures, residentMiB } from "./field.ts";

// What another user of the machine does to the sockets that a master and a slave have on it, whatever port they listen on.

/**
 * Keeps so many connections to an abstract socket, by turns silent, half a greeting, and a frame of 16 MiB; each is made
 * anew as soon as it is ended.
 */
const flooder = `
  const { connect } = require("node:net");
  const [name, count] = process.argv.slice(1);
  const call = Buffer.alloc(36, 7);
  const bytes = Buffer.alloc(1 << 20, 7);
  bytes.set([0, 255, 255, 255]);
  let made = 0;
  const dial = (index) => {
    const socket = connect({ path: "\\0" + name, allowHalfOpen: true });
    const more = () => { while (!socket.destroyed && socket.write(bytes)); };
    socket.on("error", () => {});
    socket.on("connect", () => {
      if (++made === Number(count)) console.log("flooding");
      if (index % 3 === 1) socket.write(Buffer.concat([Uint8Array.of(0, 0, 0, index % 9), call.subarray(4)]));
      if (index % 3 === 2) socket.on("drain", more), more();
    });
    socket.on("end", () => socket.destroy());
    socket.on("close", () => setTimeout(dial, 10 + Math.random() * 40, index + 1));
  };
  for (let index = 0; index < Number(count); index++) dial(index);
`;

export type LocalFlood = Readonly<{
  before: Figures;
  during: Figures;
  /** Files that the attacked process had open, and memory it had. */
  files: readonly [before: number, during: number];
  mib: readonly [before: number, during: number];
  /** How long a new slave, or new workers, took to be at work. */
  joinedMs: number;
  /** The state was saved meanwhile. */
  isSaved: boolean;
  exitCode: number | string;
}>;

type Teardown = { teardown(done: () => void): unknown };

/** A master whose lock is flooded; a slave joins meanwhile. */
export async function floodLock(t: Teardown, count: number, seconds: number): Promise<LocalFlood> {
  const field = await Field.open();
  try {
    const name = socketName(statSync(field.folder, { bigint: true }), "plugin").slice(1);
    return await flood(t, field, {
      name,
      count,
      seconds,
      pid: field.master.process.pid!,
      join: async () => {
        field.join();
        await until(() => field.master.events("joined").length === 2, "a slave joined");
      },
    });
  } finally {
    await field.end();
  }
}

/** Whatever temporary folder there is cannot be written to, so that the workers' socket has a name that anybody can connect to. */
const withoutFolders = `
  for folder in /tmp /var/tmp /dev/shm "$HOME"; do
    if [ -d "$folder" ]; then mount --bind "$folder" "$folder" && mount -o remount,bind,ro "$folder" || exit 3; fi
  done
  exec "$@"`;

/** A slave whose workers' socket is flooded; its workers are killed meanwhile, and replaced. */
export async function floodWorkers(t: Teardown, count: number, seconds: number): Promise<LocalFlood> {
  const before = workerSockets();
  const slave = ["unshare", "-m", "sh", "-c", withoutFolders, "sh", ...runtimes.binary];
  const field = await Field.open([], runtimes.binary, slave);
  try {
    const pid = field.slave.process.pid!;
    const [name] = workerSockets().filter((name) => !before.includes(name));
    if (name === undefined) throw new Error(`The workers' socket has no name:\n${field.slave.stderr}`);
    return await flood(t, field, {
      name,
      count,
      seconds,
      pid,
      join: async () => {
        for (const worker of childrenOf(pid)) process.kill(worker, "SIGKILL");
        await field.settles();
      },
    });
  } finally {
    await field.end();
  }
}

type Flooded = Readonly<
  { name: string; count: number; seconds: number; pid: number; join: () => Promise<void> }
>;

async function flood(
  t: Teardown,
  field: Field,
  { name, count, seconds, pid, join }: Flooded,
): Promise<LocalFlood> {
  const before = await field.watch(seconds);
  const filesBefore = filesOf(pid), mibBefore = residentMiB(pid), savedBefore = savedAtMs(field);
  const stranger = new Stranger(t, flooder, [name, String(count)]);
  // An attacker has a machine of its own, or else is held down by the system's scheduler: what counts is the program.
  setPriority(stranger.process.pid!, constants.priority.PRIORITY_LOW);
  await stranger.said(/flooding/);
  let files = 0, mib = 0;
  const looks = setInterval(() => {
    files = Math.max(files, filesOf(pid));
    mib = Math.max(mib, residentMiB(pid));
  }, 20);
  const during = await field.watch(seconds * 2);
  const startMs = Date.now();
  await join();
  const joinedMs = Date.now() - startMs;
  clearInterval(looks);
  const isSaved = savedAtMs(field) > savedBefore;
  stranger.end();
  await sleep(200);
  return {
    before,
    during,
    files: [filesBefore, files],
    mib: [mibBefore, mib],
    joinedMs,
    isSaved,
    exitCode: await field.stop(),
  };
}

function filesOf(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length;
}

function savedAtMs(field: Field): number {
  const path = join(field.folder, "plugin.state");
  return existsSync(path) ? statSync(path).mtimeMs : 0;
}

/** Names of the sockets of workers that have one. */
function workerSockets(): string[] {
  return [...readFileSync("/proc/net/unix", "utf8").matchAll(/@(taskmaster-[0-9a-f]{24})\b/g)].map((
    [, name],
  ) => name!);
}

/** Most that memory may grow by: what so many strangers send at once, and what is not collected yet of those before. */
const growthMiBMax = 150;

/** What must not be. */
export function localFaults({ files, mib, isSaved, exitCode }: LocalFlood, filesMax: number): string[] {
  return [
    ...files[1] <= files[0] + filesMax ? [] : [`${files[1]} files are open, ${files[0]} before`],
    ...mib[1] <= mib[0] + growthMiBMax ? [] : [`it grew from ${mib[0]} to ${mib[1]} MiB`],
    ...isSaved ? [] : ["the state was not saved meanwhile"],
    ...exitCode === 130 ? [] : [`the master ended with ${exitCode}`],
  ];
}
