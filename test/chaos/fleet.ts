import { execFile } from "node:child_process";
import {
  closeSync,
  existsSync,
  fstatSync,
  openSync,
  readFileSync,
  readSync,
  renameSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import type { Program } from "../kit/program.ts";
import { binary, root, runtimes } from "../kit/runtimes.ts";
import { portOf, Scenario } from "../kit/scenario.ts";
import { until } from "../kit/until.ts";
import { isJoined } from "./events.ts";
import type { Network, Road } from "./network.ts";
import { Timeline } from "./timeline.ts";

export type Runtime = keyof typeof runtimes;

export type FleetOptions = Readonly<{
  /** Runtime of the slave in each slot. */
  slaves: readonly Runtime[];
  /** Runtimes of the masters, one after the other, round. */
  masters: readonly Runtime[];
  procs: number;
  concurrency: number;
  /** Arguments of the plugin. */
  args: Readonly<Record<string, string>>;
  /** Options of the master. */
  masterWords: readonly string[];
  /** Jobs yielded at most beyond those settled: few, so that a run ends soon after its end is told. */
  bufferJobs: number;
  /** No process lives longer. */
  lifeMsMax: number;
}>;

/** A state as `taskmaster state --json` prints it. */
export type SavedState = Readonly<{
  savedAt: string;
  epoch: number;
  handedOut: number;
  done: number;
  skipped: number;
  dead: number;
  strandedCount: number;
  complete: boolean;
  last: { cursor: { id: number } } | null;
}>;

/** Lowest and highest port of a master. */
const portsFrom = 20_000, portsTo = 30_000;
/** On a loaded machine the start of a dozen processes takes its time. */
const joinMsMax = 60_000;
const plugin = join(root, "test", "chaos", "probe.ts");
const key = "probe";

/** A slot: one slave after the other, over the same road. */
export type Slot = { readonly number: number; readonly road: Road; slave: Program; wanted: boolean };

/** The processes of one run: a master, and a slave in each slot, each over a road of its own. */
export class Fleet {
  readonly timeline = new Timeline();
  readonly scenario: Scenario;
  readonly masters: Program[] = [];
  readonly slots: Slot[] = [];
  readonly states: SavedState[] = [];
  /** Every slave that there was. */
  readonly slaves: Program[] = [];
  readonly #options: FleetOptions;
  /** Whether the latest master is meant to run. */
  #isMasterUp = false;
  #masterHost = "";
  #port = 0;

  constructor(options: FleetOptions) {
    this.#options = options;
    this.scenario = new Scenario(options.lifeMsMax);
  }

  get folder(): string {
    return this.scenario.folder;
  }

  get port(): number {
    return this.#port;
  }

  get master(): Program {
    return this.masters.at(-1)!;
  }

  get isMasterUp(): boolean {
    return this.#isMasterUp;
  }

  async start(network: Network): Promise<void> {
    this.#port = await freePort();
    this.#masterHost = network.masterHost;
    await this.startMaster();
    for (const [number, runtime] of this.#options.slaves.entries()) {
      const road = await network.open(number, this.#port);
      this.slots.push({ number, road, slave: this.#startSlave(road, runtime), wanted: true });
    }
    await this.allJoined();
  }

  /** Starts the master anew, on the same port. */
  async startMaster(): Promise<void> {
    const { masters, args, masterWords, bufferJobs } = this.#options;
    const words = [
      ...Object.entries(args).map(([name, value]) => `${name}=${value}`),
      ...["--size", String(bufferJobs), "--heartbeat", "500ms", "--json", "--no-progress", ...masterWords],
    ];
    const command = runtimes[masters[this.masters.length % masters.length]!];
    const place = [
      `dir=${this.folder}`,
      "--state-dir",
      this.folder,
      "--host",
      `${this.#masterHost}:${this.#port}`,
    ];
    const master = this.scenario.start(command, ["master", plugin, ...place, ...words]);
    this.masters.push(master);
    this.#isMasterUp = true;
    void master.ended.then((how) => {
      if (this.#isMasterUp && master === this.master) {
        this.timeline.problems.push(`the master ended by itself (${how}): ${lastLines(master.stderr)}`);
      }
    });
    await portOf(master);
  }

  /** From now on the master may end. */
  masterMayEnd(): void {
    this.#isMasterUp = false;
  }

  async killMaster(): Promise<void> {
    this.masterMayEnd();
    this.master.signal("SIGKILL");
    const atMs = Date.now();
    await this.master.ended;
    const state = await this.readState();
    if (state === null) return void this.timeline.problems.push("a killed master left no state");
    this.timeline.masterDeaths.push({ atMs, savedAtMs: Date.parse(state.savedAt) });
  }

  /** A new slave in this slot. */
  replaceSlave(slot: Slot): void {
    slot.slave = this.#startSlave(slot.road, this.#options.slaves[slot.number]!);
    slot.wanted = true;
  }

  #startSlave(road: Road, runtime: Runtime): Program {
    const { procs, concurrency } = this.#options;
    const words = ["slave", plugin, "--host", road.masterAddress, "--grace", "5s"];
    const [command, ...args] = [...road.prefix, ...runtimes[runtime]];
    const slave = this.scenario.start([command!], [
      ...args,
      ...words,
      ...["--procs", String(procs), "--concurrency", String(concurrency)],
    ]);
    this.slaves.push(slave);
    return slave;
  }

  /** Waits until every slave is joined to the latest master. */
  async allJoined(): Promise<void> {
    const isComplete = () => this.slots.every(({ slave }) => isJoined(this.master, slave.process.pid!));
    await until(isComplete, "every slave joined the master", joinMsMax).catch((error) => {
      const missing = this.slots.filter(({ slave }) => !isJoined(this.master, slave.process.pid!));
      const said = missing.map(({ number, slave }) => `slave ${number}: ${lastLines(slave.stderr)}`);
      throw new Error(`${error.message}\n${said.join("\n")}\nmaster: ${lastLines(this.master.stderr)}`);
    });
  }

  /** Workers of this slot that are set up: a slave whose first worker dies while it loads the plugin ends with 4. */
  workersOf(slot: Slot): number[] {
    const { pid } = slot.slave.process;
    const path = `/proc/${pid}/task/${pid}/children`;
    const pids = existsSync(path) ? readFileSync(path, "utf8").trim().split(" ").filter(Boolean) : [];
    return pids.filter((pid) => existsSync(join(this.folder, `${pid}.records`))).map(Number);
  }

  /** How many jobs were yielded so far: the last words of each master that there was. */
  yielded(): number {
    const ids = this.masters.map(({ process }) => lastId(join(this.folder, `${process.pid}.records`)));
    return 1 + Math.max(...ids);
  }

  /** Says how many jobs there are. */
  tellJobs(jobs: number): void {
    // renamed: the source must not read half of it
    writeFileSync(join(this.folder, "jobs.new"), String(jobs));
    renameSync(join(this.folder, "jobs.new"), join(this.folder, "jobs"));
  }

  /** What the state file says now; null if it cannot be read. */
  async readState(): Promise<SavedState | null> {
    const words = ["state", key, "--state-dir", this.folder, "--json"];
    const options = { maxBuffer: 1 << 28, timeout: 20_000, env: { HOME: this.folder } };
    const { error, stdout, stderr } = await new Promise<
      { error: Error | null; stdout: string; stderr: string }
    >((resolve) =>
      execFile(binary, words, options, (error, stdout, stderr) => resolve({ error, stdout, stderr }))
    );
    if (error !== null) {
      this.timeline.problems.push(`the state cannot be read: ${stderr.trim() || error.message}`);
      return null;
    }
    const state: SavedState = JSON.parse(stdout);
    this.states.push(state);
    return state;
  }

  /** Ids of the dead letters that were not taken back. */
  letters(): number[] {
    const letters = new Map<number, number | null>();
    for (const letter of this.scenario.deadLetters()) {
      const { seq, handled, job } = letter as { seq: number; handled?: string; job?: { id: number } };
      letters.set(seq, handled === undefined ? job!.id : null);
    }
    return [...letters.values()].filter((id) => id !== null);
  }

  async close(): Promise<void> {
    this.masterMayEnd();
    await this.scenario.endProcesses();
    for (const { road } of this.slots) await road.close();
  }
}

/** No port is given twice by one process: its master may just be down. */
let nextPort = portsFrom + process.pid * 7 % (portsTo - portsFrom);

/**
 * A port below those that the system gives to outgoing connections. While a master is down, its slaves dial it again and
 * again: from a port in that range one of them would in time be connected to itself.
 */
async function freePort(): Promise<number> {
  for (;;) {
    const port = nextPort++;
    if (nextPort > portsTo) nextPort = portsFrom;
    const server = createServer();
    const isFree = await new Promise<boolean>((resolve) => {
      server.once("error", () => resolve(false)).listen(port, "0.0.0.0", () => resolve(true));
    });
    if (!isFree) continue;
    await new Promise((resolve) => server.close(resolve));
    return port;
  }
}

/** Id of the last whole record in a file; -1 if there is none. */
function lastId(path: string): number {
  if (!existsSync(path)) return -1;
  const file = openSync(path, "r");
  try {
    const buffer = Buffer.alloc(200);
    const bytes = readSync(file, buffer, 0, buffer.length, Math.max(0, fstatSync(file).size - buffer.length));
    const whole = buffer.toString("latin1", 0, bytes).split("\n").slice(0, -1);
    return Number(whole.at(-1)?.split(" ")[1] ?? -1);
  } finally {
    closeSync(file);
  }
}

export function lastLines(text: string): string {
  return text.trim().split("\n").slice(-5).join("\n");
}
