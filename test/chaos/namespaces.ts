import { spawnSync } from "node:child_process";
import type { Network, Road } from "./network.ts";

/** 10.77.x.0/30, of which .1 is the master's side and .2 the slave's. */
const subnets = 250;

/** A road over a pair of virtual interfaces into a network namespace of its own: the faults are the kernel's. */
export class NamespaceRoad implements Road {
  readonly #name: string;
  readonly #net: string;
  readonly #port: number;

  private constructor(name: string, net: string, port: number) {
    this.#name = name;
    this.#net = net;
    this.#port = port;
  }

  static open(name: string, subnet: number, port: number): NamespaceRoad {
    const net = `10.77.${subnet}`;
    const outer = outerOf(name);
    ip("netns", "add", name);
    ip("link", "add", outer, "type", "veth", "peer", "name", "inner", "netns", name);
    ip("addr", "add", `${net}.1/30`, "dev", outer);
    ip("link", "set", outer, "up");
    ip("-n", name, "addr", "add", `${net}.2/30`, "dev", "inner");
    ip("-n", name, "link", "set", "inner", "up");
    ip("-n", name, "link", "set", "lo", "up");
    return new NamespaceRoad(name, net, port);
  }

  get prefix(): readonly string[] {
    return ["ip", "netns", "exec", this.#name];
  }

  get masterAddress(): string {
    return `${this.#net}.1:${this.#port}`;
  }

  linkDown(): void {
    ip("link", "set", outerOf(this.#name), "down");
  }

  /** Nothing goes to the master any more. */
  blackholeUp(): void {
    ip("-n", this.#name, "route", "add", "blackhole", `${this.#net}.1/32`);
  }

  /** Nothing comes from the master any more. */
  blackholeDown(): void {
    ip("route", "add", "blackhole", `${this.#net}.2/32`);
  }

  /** The master's sockets to this slave are destroyed by the kernel, which resets them. */
  killSockets(): void {
    run("ss", ["-K", "dst", `${this.#net}.2`]);
  }

  heal(): void {
    ip("link", "set", outerOf(this.#name), "up");
    // whichever is there; the other one is not
    run("ip", ["-n", this.#name, "route", "del", "blackhole", `${this.#net}.1/32`]);
    run("ip", ["route", "del", "blackhole", `${this.#net}.2/32`]);
  }

  async close(): Promise<void> {
    this.heal();
    ip("link", "del", outerOf(this.#name));
    ip("netns", "del", this.#name);
  }
}

export class NamespaceNetwork implements Network {
  readonly masterHost = "0.0.0.0";

  async open(slot: number, masterPort: number): Promise<Road> {
    return NamespaceRoad.open(
      `tmchaos${process.pid}-${slot}`,
      (process.pid * 8 + slot) % subnets,
      masterPort,
    );
  }

  /** Why this machine does not allow it; null if it does. */
  static refusal(): string | null {
    const name = `tmchaos${process.pid}-try`;
    try {
      const road = NamespaceRoad.open(name, 250 + process.pid % 5, 1);
      road.killSockets();
      void road.close();
      return null;
    } catch (error) {
      run("ip", ["netns", "del", name]);
      return `network namespaces are not allowed here: ${error instanceof Error ? error.message : error}`;
    }
  }
}

/** Names of interfaces have at most 15 characters. */
function outerOf(name: string): string {
  return `tm${name.slice("tmchaos".length)}`;
}

function ip(...args: readonly string[]): void {
  const { status, error, stderr } = run("ip", args);
  if (error !== undefined) throw error;
  if (status !== 0) throw new Error(`ip ${args.join(" ")}: ${stderr.trim()}`);
}

function run(command: string, args: readonly string[]) {
  return spawnSync(command, args, { encoding: "utf8", timeout: 10_000 });
}
