import { createServer, type Server, Socket } from "node:net";
import { type Conditions, Pipe, undisturbed } from "./pipe.ts";
import type { Unit } from "./units.ts";

/** From a slave to the master, and from the master to a slave. */
export type Direction = "up" | "down";
export const directions: readonly Direction[] = ["up", "down"];

/** HELLO and WELCOME come down, AUTH goes up. */
const greetings: Readonly<Record<Direction, number>> = { up: 1, down: 2 };

/** One connection of a slave, to tell it from others. */
export type Connection = object;
export type UnitListener = (connection: Connection, direction: Direction, unit: Unit) => void;

type Pair = { slave: Socket; master: Socket; pipes: Readonly<Record<Direction, Pipe>> };

/**
 * The network between slaves and their master: a TCP proxy on a port of its own, whose conditions are changed while
 * it runs. It delays, limits, slices, holds and cuts; it flips bits of what can be seen to be wrong, and puts frames in.
 */
export class Proxy {
  readonly conditions: Readonly<Record<Direction, Conditions>> = {
    up: { ...undisturbed },
    down: { ...undisturbed },
  };
  readonly #listener: UnitListener | null;
  readonly #server: Server;
  readonly #masterPort: number;
  readonly #pairs = new Set<Pair>();
  #flips: { direction: Direction; kind: Unit["kind"]; bit: number }[] = [];

  private constructor(server: Server, masterPort: number, listener: UnitListener | null) {
    this.#server = server;
    this.#masterPort = masterPort;
    this.#listener = listener;
    server.on("connection", (socket: Socket) => this.#join(socket));
  }

  /** @param listener Sees each unit that passes, of any connection. Null where nothing is to be seen, or TLS hides it. */
  static async open(masterPort: number, listener: UnitListener | null = null): Promise<Proxy> {
    const server = createServer({ allowHalfOpen: true, noDelay: true });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return new Proxy(server, masterPort, listener);
  }

  get port(): number {
    return (this.#server.address() as { port: number }).port;
  }

  get connections(): number {
    return this.#pairs.size;
  }

  /** Changes conditions of one direction or of both. */
  set(which: readonly Direction[], conditions: Partial<Conditions>): void {
    for (const direction of which) Object.assign(this.conditions[direction], conditions);
    this.#pump();
  }

  /** Nothing gets through any more, on connections that are opened later neither; neither end is told. */
  hold(which: readonly Direction[] = directions): void {
    this.set(which, { isHeld: true });
  }

  /** Holds the connections that are there, and no later ones: the peer seems gone, but can be dialed anew. */
  holdPresent(): void {
    for (const { pipes } of this.#pairs) for (const direction of directions) pipes[direction].isHeld = true;
  }

  /** Everything is as if there were no proxy; what was held is delivered now. */
  heal(): void {
    this.#flips = [];
    for (const { pipes } of this.#pairs) for (const direction of directions) pipes[direction].isHeld = false;
    this.set(directions, undisturbed);
  }

  /** Resets every connection, at both ends. */
  reset(): void {
    for (const pair of [...this.#pairs]) this.#break(pair);
  }

  /** Resets the present connections once so many more bytes have passed that way. */
  cutAfter(direction: Direction, bytes: number): void {
    for (const { pipes } of this.#pairs) pipes[direction].cutAfter(bytes);
  }

  /** Flips this bit (counted round) of the next such unit. */
  flipNext(direction: Direction, kind: Unit["kind"], bit: number): void {
    this.#flips.push({ direction, kind, bit });
  }

  /** Puts a frame in, as if the sender of that direction had sent it. Nothing happens if the connection is gone. */
  inject(connection: Connection, direction: Direction, frame: Uint8Array): void {
    for (const pair of this.#pairs) {
      if (pair === connection) pair.pipes[direction].inject(Buffer.from(frame));
    }
  }

  has(connection: Connection): boolean {
    return this.#pairs.has(connection as Pair);
  }

  async close(): Promise<void> {
    this.reset();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  #join(slave: Socket): void {
    const master = new Socket({ allowHalfOpen: true });
    const pipe = (direction: Direction, from: Socket, to: Socket) =>
      new Pipe(
        from,
        to,
        this.conditions[direction],
        this.#listener === null ? null : greetings[direction],
        {
          onUnit: (unit) => this.#seen(pair, direction, unit),
          onCut: () => this.#break(pair),
        },
      );
    const pair: Pair = {
      slave,
      master,
      pipes: { up: pipe("up", slave, master), down: pipe("down", master, slave) },
    };
    this.#pairs.add(pair);
    this.#dialLater(pair);
    for (const socket of [slave, master]) {
      socket.on("error", () => this.#lose(pair));
      socket.on("close", () => this.#lose(pair));
    }
  }

  /** After the latency, as what opens a connection takes its time too: the slave's first bytes come right behind it. */
  #dialLater(pair: Pair): void {
    const dial = () =>
      this.#pairs.has(pair) &&
      pair.master.connect({ host: "127.0.0.1", port: this.#masterPort, noDelay: true });
    const { latencyMs } = this.conditions.up;
    if (latencyMs > 0) setTimeout(dial, latencyMs);
    else dial();
  }

  #seen(pair: Pair, direction: Direction, unit: Unit): Buffer {
    const index = this.#flips.findIndex((flip) => flip.direction === direction && flip.kind === unit.kind);
    if (index >= 0) {
      const [flip] = this.#flips.splice(index, 1);
      return flipped(unit, flip!.bit);
    }
    this.#listener?.(pair, direction, unit);
    return unit.bytes;
  }

  /** One end is gone. Over a held link the other end does not hear of it before that is healed. */
  #lose(pair: Pair): void {
    if (!this.#pairs.has(pair)) return;
    if (!this.#isHeld(pair)) return this.#break(pair);
    setTimeout(() => this.#lose(pair), 20);
  }

  #isHeld({ pipes }: Pair): boolean {
    return directions.some((direction) => this.conditions[direction].isHeld || pipes[direction].isHeld);
  }

  #break(pair: Pair): void {
    if (!this.#pairs.delete(pair)) return;
    for (const direction of directions) pair.pipes[direction].close();
    for (const socket of [pair.slave, pair.master]) {
      // a socket whose end is under way cannot be reset: Node would forget it, and not close it
      if (socket.writableEnded) socket.destroy();
      else socket.resetAndDestroy();
    }
  }

  #pump(): void {
    for (const { pipes } of this.#pairs) for (const direction of directions) pipes[direction].pump();
  }
}

/**
 * The unit with one bit flipped that a receiver can notice. A greeting is covered by its MAC, or is its header. Of a frame
 * it is in the highest or lowest byte of the length, in the head of the map, or in the word `kind`: a plain connection
 * has no checksum beside TCP's, so a flip further behind may make another valid message (`docs/chaos.md`).
 */
function flipped(unit: Unit, bit: number): Buffer {
  const bytes = Buffer.from(unit.bytes);
  const noticed = unit.kind === "greeting" ? [...bytes.keys()] : [0, 3, 4, 5, 6, 7, 8, 9];
  bytes[noticed[(bit >>> 3) % noticed.length]!]! ^= 1 << (bit & 7);
  return bytes;
}
