import { constants, setPriority } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { runtimes } from "../kit/runtimes.ts";
import { announce, Attack, flipped, says, scan, silent, stoppedReader, trickle } from "./attackers.ts";
import { Field, type Figures } from "./field.ts";

export type Flood = Readonly<{
  name: string;
  what: string;
  /** The attackers hold the token: each becomes a session. */
  provesToken?: true;
  /** Connections of each attack, in the full size. */
  attacks: readonly (readonly [count: number, begin: ConstructorParameters<typeof Attack>[2]])[];
  /** More for the master's command line. */
  words?: readonly string[];
}>;

const http = new TextEncoder().encode("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
const noise = Uint8Array.from({ length: 4_000 }, (_, index) => index * 7919 >> 3 & 255);

export const floods: readonly Flood[] = [
  { name: "silent", what: "connections that say nothing", attacks: [[10_000, silent]] },
  {
    name: "trickle",
    what: "connections that send one byte of an AUTH each 100 ms",
    attacks: [[1_000, trickle(100)]],
  },
  {
    name: "announce",
    what: "sessions that announce 16 MiB and send 1 KiB",
    provesToken: true,
    attacks: [[1_000, announce(1_024, 10_000)]],
  },
  {
    name: "trickle-inside",
    what: "sessions that send one byte of a frame each 100 ms",
    provesToken: true,
    attacks: [[1_000, announce(0, 100)]],
  },
  {
    name: "flipped",
    what: "sessions that send messages with flipped bits",
    provesToken: true,
    attacks: [[200, flipped]],
  },
  {
    name: "stopped-reader",
    what: "sessions that take 200 jobs of 50 KB and read nothing",
    provesToken: true,
    attacks: [[2, stoppedReader]],
    words: ["bytes=50000"],
  },
  {
    name: "noise",
    what: "port scans, HTTP requests, random bytes",
    attacks: [[200, scan], [200, says(http)], [200, says(noise)]],
  },
];

export type Report = Readonly<{
  connections: number;
  /** Connections made in all, and how many of them became sessions. */
  made: number;
  joined: number;
  before: Figures;
  during: Figures;
  after: Figures;
  /** Lines of the master's log that the attack caused. */
  logLines: number;
  /** Whether the real slave's session lasted, and the master could be stopped. */
  stayed: boolean;
  exitCode: number | string;
  stderr: string;
}>;

/** Most that the master's memory may grow by: what 64 strangers and 1,000 sessions sent, and what the kernel holds for it. */
const growthMiBMax = 100;

/** What was not as it must be, whatever the rate. */
export function faultsOf({ provesToken }: Flood, report: Report): string[] {
  const { connections, made, joined, before, during, stayed, exitCode, stderr } = report;
  const growthMiB = Math.round(during.peakMiB - before.peakMiB);
  return [
    ...made < connections ? [`only ${made} of ${connections} connections were made`] : [],
    ...provesToken && joined < connections ? [`only ${joined} of ${connections} became sessions`] : [],
    ...growthMiB > growthMiBMax ? [`the master grew by ${growthMiB} MiB`] : [],
    ...stayed ? [] : [`the real slave's session was lost\n${stderr.slice(-2_000)}`],
    ...exitCode === 130 ? [] : [`the master ended with ${exitCode}`],
  ];
}

/** One flood: the real slave's rate before, during and behind it. `share` of the full number of connections. */
export async function runFlood({ attacks, words }: Flood, seconds: number, share: number): Promise<Report> {
  const field = await Field.open(words ?? [], runtimes.binary);
  try {
    const before = await field.watch(seconds);
    const linesBefore = field.master.stderr.split("\n").length;
    yieldCpu(true);
    const running = attacks.map(([count, begin]) => new Attack(field.port, Math.ceil(count * share), begin));
    const during = await field.watch(seconds * 2);
    for (const attack of running) attack.stop();
    yieldCpu(false);
    const logLines = field.master.stderr.split("\n").length - linesBefore;
    // What the attack left is dealt with.
    await sleep(1_000);
    const after = await field.watch(seconds);
    const real = field.master.events("joined")[0]!["session"];
    const stayed = !field.master.events("left").some(({ session }) => session === real);
    const connections = attacks.reduce((sum, [count]) => sum + Math.ceil(count * share), 0);
    const made = running.reduce((sum, attack) => sum + attack.made, 0);
    return {
      connections,
      made,
      joined: field.master.events("joined").length - 1,
      before,
      during,
      after,
      logLines,
      stayed,
      exitCode: await field.stop(),
      stderr: field.master.stderr,
    };
  } finally {
    await field.end();
  }
}

/**
 * Whether this process, which plays the attackers, gets only what CPU the others leave: attackers have machines of
 * their own. Who is not root cannot take that back; then it stays so, for what is started later too.
 */
function yieldCpu(isYielding: boolean): void {
  const { PRIORITY_LOW, PRIORITY_NORMAL } = constants.priority;
  try {
    setPriority(isYielding ? PRIORITY_LOW : PRIORITY_NORMAL);
  } catch {
    // not root
  }
}
