import type { Process, World } from "./world.ts";

/** One end of a link: a slave or a master. */
export interface End<In> {
  readonly process: Process;
  receive(message: In): void;
  closed(): void;
}

type Direction = { clearAtMs: number; heldUntilMs: number; handshakes: (() => void)[] };

/**
 * One connection between a slave and its master. Messages arrive in order after a latency, unless the link is held
 * (they arrive later) or dead (they never do, and neither end is told).
 */
export class Link<ToSlave, ToMaster> {
  readonly #world: World;
  readonly #latencyMs: number;
  readonly #ends: { slave: End<ToSlave>; master: End<ToMaster> };
  readonly #toSlave: Direction = { clearAtMs: 0, heldUntilMs: 0, handshakes: [] };
  readonly #toMaster: Direction = { clearAtMs: 0, heldUntilMs: 0, handshakes: [] };
  /** When bytes last reached the master's socket, read or not. */
  reachedMasterMs: number;
  #isDead = false;
  #isClosed = { slave: false, master: false };

  constructor(world: World, latencyMs: number, ends: { slave: End<ToSlave>; master: End<ToMaster> }) {
    this.#world = world;
    this.reachedMasterMs = world.nowMs;
    this.#latencyMs = latencyMs;
    this.#ends = ends;
  }

  toSlave(message: ToSlave): void {
    if (!this.#isClosed.master) {
      this.#carry(this.#toSlave, () => this.#arrive("slave", () => this.#ends.slave.receive(message)));
    }
  }

  toMaster(message: ToMaster): void {
    if (!this.#isClosed.slave) {
      this.#carry(this.#toMaster, () => this.#arrive("master", () => this.#ends.master.receive(message)));
    }
  }

  /** One end closes the link: the other is told after all messages sent before. */
  close(by: "slave" | "master"): void {
    if (this.#isClosed[by]) return;
    this.#isClosed[by] = true;
    const other = by === "slave" ? "master" : "slave";
    this.#carry(
      other === "slave" ? this.#toSlave : this.#toMaster,
      () => this.#arrive(other, () => this.#ends[other].closed()),
    );
  }

  hold(direction: "toSlave" | "toMaster" | "both", forMs: number): void {
    const untilMs = this.#world.nowMs + forMs;
    if (direction !== "toMaster") this.#toSlave.heldUntilMs = Math.max(this.#toSlave.heldUntilMs, untilMs);
    if (direction !== "toSlave") this.#toMaster.heldUntilMs = Math.max(this.#toMaster.heldUntilMs, untilMs);
  }

  /** The link dies: nothing arrives any more, and neither end is told. */
  die(): void {
    this.#isDead = true;
  }

  #arrive(at: "slave" | "master", act: () => void): void {
    const { process } = this.#ends[at];
    if (at === "master" && process.isPaused) this.reachedMasterMs = this.#world.nowMs;
    process.do(() => this.#isClosed[at] || act());
    if (at === "master") this.reachedMasterMs = this.#world.nowMs;
  }

  #carry(direction: Direction, arrive: () => void): void {
    const atMs = Math.max(direction.clearAtMs, this.#world.nowMs + this.#latencyMs, direction.heldUntilMs);
    direction.clearAtMs = atMs;
    direction.handshakes.push(arrive);
    this.#world.at(atMs, () => this.#deliver(direction));
  }

  /** Delivers the oldest message once the direction is not held. One call per message. */
  #deliver(direction: Direction): void {
    if (this.#isDead) return;
    if (this.#world.nowMs >= direction.heldUntilMs) return direction.handshakes.shift()!();
    this.#world.at(direction.heldUntilMs, () => this.#deliver(direction));
  }
}
