import { setTimeout as sleep } from "node:timers/promises";
import { Crowd } from "../kit/crowd.ts";
import type { Conditions } from "../kit/pipe.ts";
import { directions, type Proxy } from "../kit/proxy.ts";
import { isJoined } from "./events.ts";
import { type FaultName, kindOf } from "./faults.ts";
import type { Fleet, Slot } from "./fleet.ts";
import type { FrameBook } from "./frame_book.ts";
import type { NamespaceRoad } from "./namespaces.ts";
import { ProxyRoad } from "./network.ts";
import type { Fault } from "./plan.ts";

/** Slow links, none so slow that beats would not pass. A byte is 10 bits or so on the wire of old. */
const slowLinks: readonly Partial<Conditions>[] = [
  { latencyMs: 30 },
  { latencyMs: 300 },
  { latencyMs: 50, bytesPerSecond: 20_000 },
  { bytesPerSecond: 4_000 },
  { sliceBytes: 1 },
  { sliceBytes: 7, latencyMs: 20 },
];
/** A master says that a slave left so long after that ended, at the latest. */
const saidMs = 500;
/** How often it is asked whether it is enough. */
const lookMs = 500;
/** How often it is asked whether answers can be forged, and how long their victim is gone. */
const readyMs = 50, forgedDownMs = 500;
/** A drained slave has this long, and its grace, before it must be gone. */
const drainMsMax = 20_000;

/** So many slaves of a storm, beside the real ones; all must be welcome again by then. */
const stormSlaves = 300, stormMsMax = 20_000;

/** Carries faults out, and undoes them. Each call resolves when its fault is over. */
export class Injector {
  readonly injected: Fault[] = [];
  readonly #fleet: Fleet;
  readonly #book: FrameBook;
  /** One thing at a time is done to the master. */
  #master: Promise<void> = Promise.resolve();

  constructor(fleet: Fleet, book: FrameBook) {
    this.#fleet = fleet;
    this.#book = book;
  }

  /** Carries out a plan, or what of it comes before it is enough; resolves when the last fault is over. */
  async play(plan: readonly Fault[], isEnough: () => boolean): Promise<void> {
    const beganMs = performance.now();
    const running: Promise<void>[] = [];
    for (const fault of plan) {
      for (let waitMs = 1; waitMs > 0 && !isEnough();) {
        waitMs = beganMs + fault.atMs - performance.now();
        if (waitMs > 0) await sleep(Math.min(waitMs, lookMs));
      }
      if (isEnough()) break;
      running.push(this.#inject(fault));
    }
    await Promise.all(running);
  }

  async #inject(fault: Fault): Promise<void> {
    // told before it happens: it counts even if it turns out to hit nothing
    this.injected.push(fault);
    try {
      if (fault.slot < 0) {
        return await (this.#master = this.#master.then(() => this.#hitMaster(fault)));
      }
      await this.#hitSlave(fault, this.#fleet.slots[fault.slot]!);
    } catch (error) {
      const sentence = error instanceof Error ? error.message : String(error);
      this.#fleet.timeline.problems.push(`${fault.name}: ${sentence}`);
    }
  }

  async #hitMaster({ name, forMs }: Fault): Promise<void> {
    if (name === "storm") return await this.#storm();
    if (name === "kill all") return await this.#killAll(forMs);
    const fleet = this.#fleet;
    // what slaves say meanwhile is not heard, whatever happens to them next
    const disturbances = fleet.slots.map(({ slave }) =>
      fleet.timeline.disturb(slave.process.pid!, name !== "stop master")
    );
    if (name === "stop master") {
      fleet.master.signal("SIGSTOP");
      await sleep(forMs);
      fleet.master.signal("SIGCONT");
    } else {
      if (name === "kill master") await fleet.killMaster();
      else await this.#endMaster();
      await sleep(forMs);
      await fleet.startMaster();
    }
    for (const disturbance of disturbances) disturbance.toMs = Date.now();
  }

  async #endMaster(): Promise<void> {
    const { master, timeline } = this.#fleet;
    // A slave that comes meanwhile is sent away too.
    const drain = timeline.drain("all");
    this.#fleet.masterMayEnd();
    master.signal("SIGTERM");
    const code = await master.ended;
    drain.toMs = Date.now() + saidMs;
    if (code !== 143) timeline.problems.push(`a master told to end did so with ${code}:\n${master.stderr}`);
  }

  /** Nobody is left who could finish what the state forgot. */
  async #killAll(forMs: number): Promise<void> {
    const fleet = this.#fleet;
    const killMaster = async () => {
      await fleet.killMaster();
      await sleep(forMs);
      await fleet.startMaster();
    };
    await Promise.all([killMaster(), ...fleet.slots.map((slot) => this.#killSlave(slot, forMs))]);
  }

  /** The master dies, and all come back at once. */
  async #storm(): Promise<void> {
    const fleet = this.#fleet;
    const crowd = new Crowd(fleet.port, stormSlaves, "storm");
    await crowd.joined(1);
    const disturbances = fleet.slots.map(({ slave }) => fleet.timeline.disturb(slave.process.pid!, true));
    await fleet.killMaster();
    await fleet.startMaster();
    await crowd.joined(2, stormMsMax);
    for (const disturbance of disturbances) disturbance.toMs = Date.now();
    await crowd.leave();
  }

  async #hitSlave(fault: Fault, slot: Slot): Promise<void> {
    const { timeline } = this.#fleet;
    const disturbance = timeline.disturb(slot.slave.process.pid!, kindOf(fault.name).losesSessions);
    await this.#carryOut(fault, slot);
    disturbance.toMs = Date.now();
  }

  async #carryOut({ name, forMs, pick }: Fault, slot: Slot): Promise<void> {
    switch (name) {
      case "kill slave":
        return await this.#killSlave(slot, forMs);
      case "stop supervisor":
      case "stop slave briefly":
        return await signalFor([slot.slave.process.pid!], forMs);
      case "stop slave":
        return await signalFor([slot.slave.process.pid!, ...this.#fleet.workersOf(slot)], forMs);
      case "drain slave":
        return await this.#drainSlave(slot, forMs);
      case "kill worker":
      case "stop worker":
        return await this.#hitWorker(name, slot, forMs, pick);
      case "stale answers":
        return await this.#sayStaleAnswers(slot, pick);
      case "forged answers":
        return await this.#forgeAnswers(slot, forMs);
      case "link down":
      case "link down briefly":
      case "blackhole up":
      case "blackhole down":
      case "kill sockets":
        return await disturbNamespace(slot.road as NamespaceRoad, name, forMs);
      default:
        await this.#disturbProxy(name, slot, forMs, pick);
    }
  }

  async #killSlave(slot: Slot, forMs: number): Promise<void> {
    const { timeline } = this.#fleet;
    slot.slave.signal("SIGKILL");
    timeline.supervisorDeaths.push({ pid: slot.slave.process.pid!, atMs: Date.now() });
    await slot.slave.ended;
    await sleep(forMs);
    this.#fleet.replaceSlave(slot);
  }

  async #drainSlave(slot: Slot, forMs: number): Promise<void> {
    const { slave } = slot;
    // one that only starts does not know the signal yet
    if (!isJoined(this.#fleet.master, slave.process.pid!)) return;
    const drain = this.#fleet.timeline.drain(slave.process.pid!);
    slave.signal("SIGTERM");
    const limit = setTimeout(() => slave.signal("SIGKILL"), drainMsMax);
    const code = await slave.ended;
    clearTimeout(limit);
    drain.toMs = Date.now() + saidMs;
    if (code !== 0) {
      this.#fleet.timeline.problems.push(`a slave told to drain ended with ${code}:\n${slave.stderr}`);
    }
    await sleep(forMs);
    this.#fleet.replaceSlave(slot);
  }

  async #hitWorker(
    name: "kill worker" | "stop worker",
    slot: Slot,
    forMs: number,
    pick: number,
  ): Promise<void> {
    const workers = this.#fleet.workersOf(slot);
    const pid = workers[pick % workers.length];
    // it may just be replaced
    if (pid === undefined) return;
    if (name === "stop worker") return await signalFor([pid], forMs);
    this.#fleet.timeline.workerDeaths.push({ pid, atMs: Date.now() });
    kill(pid, "SIGKILL");
  }

  async #sayStaleAnswers(slot: Slot, pick: number): Promise<void> {
    const proxy = proxyOf(slot.road);
    const connection = this.#book.ready(slot.number, (connection) => proxy.has(connection));
    if (connection === null) return;
    for (const frame of this.#book.staleAnswers(connection, 1 + pick % 40, pick >>> 6)) {
      proxy.inject(connection, "up", frame);
    }
  }

  /** The neighbour lies, and before the lie could come true the slave is dead. Both may just be starting. */
  async #forgeAnswers(slot: Slot, forMs: number): Promise<void> {
    const { slots } = this.#fleet;
    const other = slots[(slot.number + 1) % slots.length]!;
    const ready = ({ number, road }: Slot) =>
      this.#book.ready(number, (connection) => proxyOf(road).has(connection));
    let victim, liar;
    for (let leftMs = forMs - forgedDownMs;; leftMs -= readyMs) {
      [victim, liar] = [ready(slot), ready(other)];
      if (victim && liar || leftMs <= 0) break;
      await sleep(readyMs);
    }
    if (victim && liar) {
      for (const frame of this.#book.forgedAnswers(liar, victim)) {
        proxyOf(other.road).inject(liar, "up", frame);
      }
      await sleep(20);
    }
    await this.#killSlave(slot, forgedDownMs);
  }

  async #disturbProxy(name: FaultName, slot: Slot, forMs: number, pick: number): Promise<void> {
    const proxy = proxyOf(slot.road);
    const direction = directions[pick & 1]!;
    switch (name) {
      case "reset":
        return proxy.reset();
      case "cut":
        proxy.cutAfter(direction, 1 + (pick >>> 1) % 400);
        return await sleep(forMs);
      case "half-open":
        proxy.holdPresent();
        break;
      case "partition":
      case "partition briefly":
        proxy.hold();
        break;
      case "one-way up":
        proxy.hold(["up"]);
        break;
      case "one-way down":
        proxy.hold(["down"]);
        break;
      case "slow link":
        proxy.set(directions, slowLinks[pick % slowLinks.length]!);
        break;
      case "flip":
        return await this.#flip(proxy, slot, forMs, pick);
      default:
        throw new Error(`Cannot inject ${name}: no road does that`);
    }
    await sleep(forMs);
    proxy.heal();
  }

  /** Every second time it hits a handshake; a slave that is told that its token is wrong ends, as it should. */
  async #flip(proxy: Proxy, slot: Slot, forMs: number, pick: number): Promise<void> {
    const isGreeting = (pick & 2) !== 0;
    proxy.flipNext(directions[pick & 1]!, isGreeting ? "greeting" : "frame", pick >>> 2);
    if (isGreeting) proxy.reset();
    await sleep(forMs);
    proxy.heal();
    if (!slot.slave.hasEnded) return;
    const code = await slot.slave.ended;
    if (code !== 5 || !isGreeting) {
      this.#fleet.timeline.problems.push(
        `a slave ended with ${code} after a bit was flipped:\n${slot.slave.stderr}`,
      );
    }
    this.#fleet.replaceSlave(slot);
  }
}

async function disturbNamespace(road: NamespaceRoad, name: FaultName, forMs: number): Promise<void> {
  if (name === "kill sockets") return road.killSockets();
  if (name === "blackhole up") road.blackholeUp();
  else if (name === "blackhole down") road.blackholeDown();
  else road.linkDown();
  await sleep(forMs);
  road.heal();
}

function proxyOf(road: unknown): Proxy {
  if (!(road instanceof ProxyRoad)) throw new Error("Cannot inject: there is no proxy on this road");
  return road.proxy;
}

async function signalFor(pids: readonly number[], forMs: number): Promise<void> {
  for (const pid of pids) kill(pid, "SIGSTOP");
  await sleep(forMs);
  for (const pid of pids) kill(pid, "SIGCONT");
}

/** A process that is gone by now is nobody's fault. */
function kill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}
