import type { Outcome, RunState } from "../../src/core/types.ts";
import { Checks } from "./checks.ts";
import { Disk } from "./disk.ts";
import { injectFault } from "./faults.ts";
import { type End, Link } from "./link.ts";
import { SimMaster } from "./master.ts";
import { type Behaviour, behaviourOf, burnedMaxOf, neverFails, type Plan, planOf } from "./plan.ts";
import { SimSlave, type SlaveLink, type Surroundings } from "./slave.ts";
import type { ToMaster, ToSlave } from "./wire.ts";
import { World } from "./world.ts";

/** After the last fault a run must be complete within this time. */
const tailMs = 1_800_000;

/** One run from its first start to completion, over several masters and slaves. */
export class Simulation implements Surroundings {
  readonly world: World;
  readonly plan: Plan;
  readonly checks: Checks;
  readonly disk: Disk;
  readonly seed: number;
  master: SimMaster | null = null;
  slaves: SimSlave[] = [];
  links: SlaveLink[] = [];
  /** The rate limit of the simulated service: calls it would admit at once at time `atMs`. */
  readonly #calls = { left: 0, atMs: 0 };
  #masters = 0;
  #slavesMade = 0;
  #events = 0;
  #behaviours: Behaviour[] = [];

  constructor(seed: number, keepsLines = false) {
    this.seed = seed;
    this.plan = planOf(seed);
    this.world = new World(seed, keepsLines);
    this.checks = new Checks({
      isRow: (id) => this.plan.hasCursors && this.behaviourOf(id) === "unsendable",
      isGood: (id) => neverFails.has(this.behaviourOf(id)),
      burnedMax: burnedMaxOf(this.plan),
    });
    this.disk = new Disk(this.plan, this.checks);
  }

  /** Runs the simulation and returns the hash of its trace. @throws Violation if an invariant does not hold. */
  run(): { hash: string; events: number } {
    this.startMaster();
    for (let i = 0; i < this.plan.slaves; i++) this.#startSlave();
    this.#scheduleFault();
    this.world.run(this.plan.faultsEndMs + tailMs, () => this.#events++);
    if (!this.world.isOver) {
      this.checks.late(this.world.nowMs, JSON.stringify(this.master?.run.status(this.world.nowMs)));
    }
    return { hash: this.world.trace.hash, events: this.#events };
  }

  isSick(slave: number): boolean {
    return slave === this.plan.sickSlave && this.world.nowMs < this.plan.faultsEndMs;
  }

  refuses(slave: number): boolean {
    const { nowMs } = this.world;
    const { faultsEndMs, outageMs } = this.plan;
    if (nowMs >= faultsEndMs) return false;
    return nowMs % 10_000 < outageMs || this.isSick(slave) || !this.#admits(nowMs);
  }

  /** Whether the service admits a call now; counts it. */
  #admits(nowMs: number): boolean {
    const { admitsPerSecond } = this.plan;
    if (admitsPerSecond === 0) return true;
    const calls = this.#calls;
    calls.left = Math.min(admitsPerSecond, calls.left + (nowMs - calls.atMs) / 1_000 * admitsPerSecond);
    calls.atMs = nowMs;
    if (calls.left < 1) return false;
    calls.left--;
    return true;
  }

  behaviourOf(id: number): Behaviour {
    return this.#behaviours[id] ??= behaviourOf(this.plan, this.seed, id);
  }

  fails(id: number): boolean {
    const behaviour = this.behaviourOf(id);
    return behaviour === "bad" || behaviour === "fatal" ||
      (behaviour === "flaky" && this.world.random.perMille(400));
  }

  connect(slave: SimSlave, end: (link: () => SlaveLink) => End<ToSlave>): SlaveLink | null {
    const { master } = this;
    if (master === null || !master.process.isAlive) return null;
    let session: { receive(message: ToMaster): void; closed(): void } | null = null;
    const link: SlaveLink = new Link(this.world, this.plan.latencyMs, {
      slave: end(() => link),
      master: {
        process: master.process,
        receive: (message) => session?.receive(message),
        closed: () => session?.closed(),
      },
    });
    this.links.push(link);
    this.world.after(
      this.plan.latencyMs,
      () => master.process.do(() => session = master.accept(slave.id, link)),
    );
    return link;
  }

  slaveDied(slave: SimSlave): void {
    this.slaves = this.slaves.filter((other) => other !== slave);
    this.world.trace.note("slave died", slave.number);
    this.world.after(this.world.random.int(10, 3_000), () => this.#startSlave());
  }

  startMaster(): void {
    this.world.trace.note("master starts", ++this.#masters);
    this.links = [];
    this.master = new SimMaster(this.#masters, this, (outcome, state) => this.#ended(outcome, state));
  }

  /** The master's process is gone; another one starts after a while. */
  masterDied(isSilent: boolean): void {
    this.world.trace.note("master died");
    this.master!.die(isSilent);
    this.world.after(this.world.random.int(10, 5_000), () => this.startMaster());
  }

  #ended(outcome: Outcome, state: RunState): void {
    this.world.trace.note(outcome.kind);
    if (outcome.kind !== "complete") return this.masterDied(false);
    this.checks.complete(state, this.plan.jobs);
    this.world.end();
  }

  #startSlave(): void {
    this.slaves.push(new SimSlave(++this.#slavesMade, this));
  }

  #scheduleFault(): void {
    if (this.plan.isQuiet) return;
    this.world.after(this.world.random.int(1, this.plan.faultEveryMs), () => {
      if (this.world.nowMs >= this.plan.faultsEndMs) return;
      injectFault(this);
      this.#scheduleFault();
    });
  }
}
