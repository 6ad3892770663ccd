import { Proxy, type UnitListener } from "../kit/proxy.ts";

/** The way from one slave to its master. */
export interface Road {
  /** What stands before the command of a slave that uses it. */
  readonly prefix: readonly string[];
  /** Where such a slave finds the master. */
  readonly masterAddress: string;
  /** Everything is as it was, and what was held arrives. */
  heal(): void;
  close(): Promise<void>;
}

/** Gives each slave its road. */
export interface Network {
  /** Where the master has to listen. */
  readonly masterHost: string;
  open(slot: number, masterPort: number): Promise<Road>;
}

/** A road through a proxy of its own. */
export class ProxyRoad implements Road {
  readonly prefix: readonly string[] = [];
  readonly proxy: Proxy;

  constructor(proxy: Proxy) {
    this.proxy = proxy;
  }

  get masterAddress(): string {
    return `127.0.0.1:${this.proxy.port}`;
  }

  heal(): void {
    this.proxy.heal();
  }

  close(): Promise<void> {
    return this.proxy.close();
  }
}

export class ProxyNetwork implements Network {
  readonly masterHost = "127.0.0.1";
  readonly #listener: (slot: number) => UnitListener;

  constructor(listener: (slot: number) => UnitListener) {
    this.#listener = listener;
  }

  async open(slot: number, masterPort: number): Promise<Road> {
    return new ProxyRoad(await Proxy.open(masterPort, this.#listener(slot)));
  }
}
