import { constants } from "node:fs";
import { basename, dirname } from "node:path";
import type { Disk } from "../../src/state/disk.ts";

/** One file, whatever its names. `synced` is what survives a power cut. */
type Node = { kind: "file" | "link"; bytes: Uint8Array; synced: Uint8Array; mode: number };
/** What one call changed in the folder, as a whole: a name, and what it stands for from then on. */
type Change = readonly (readonly [path: string, node: Node | null])[];

/** Called before each step, with its name; what it throws is what the step fails with. */
export type OnStep = (step: string, path: string) => void;

/**
 * A file system in memory, one folder, that can be cut off at any step. It promises what POSIX promises and no
 * more: without a sync, neither bytes nor names are durable, in whatever order they were written.
 */
export class FakeDisk {
  names = new Map<string, Node>();
  #durable = new Map<string, Node>();
  #pending: Change[] = [];
  onStep: OnStep = () => {};
  /** Most bytes a write takes. */
  writeMax = Infinity;
  steps = 0;
  /** Handles that nobody closed. */
  openFiles = 0;

  get disk(): Disk {
    return this as unknown as Disk;
  }

  /** What is there after a power cut; `random` decides what was written of what was never synced. */
  powerCut(random: () => number): FakeDisk {
    const after = new FakeDisk();
    const names = new Map(this.#durable);
    for (const change of this.#pending) if (random() < 0.5) apply(names, change);
    const copies = new Map<Node, Node>();
    for (const [path, node] of names) {
      if (!copies.has(node)) copies.set(node, cutOff(node, random));
      after.names.set(path, copies.get(node)!);
    }
    after.#durable = new Map(after.names);
    return after;
  }

  /** What the next process finds if this one is killed now: the kernel goes on. */
  killed(): FakeDisk {
    const after = new FakeDisk();
    after.names = new Map(
      [...this.names].map(([path, node]) => [path, { ...node, bytes: node.bytes.slice() }]),
    );
    after.#durable = new Map(after.names);
    return after;
  }

  put(path: string, bytes: Uint8Array): void {
    const node: Node = { kind: "file", bytes, synced: bytes, mode: 0o600 };
    this.names.set(path, node);
    this.#durable.set(path, node);
  }

  get(path: string): Uint8Array | undefined {
    return this.names.get(path)?.bytes;
  }

  get listing(): string[] {
    return [...this.names.keys()].map((path) => basename(path)).sort();
  }

  async open(path: string, flags: string | number, mode = 0o666) {
    const how = typeof flags === "number" ? flags : ({
      r: 0,
      "r+": constants.O_RDWR,
      wx: constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL,
    } as Record<string, number>)[flags]!;
    this.#step(`open ${how & constants.O_CREAT ? "new" : "old"}`, path);
    if (path === dirname([...this.names.keys()][0] ?? "/d/x")) return this.#folder(path);
    let node = this.names.get(path);
    if (node && how & constants.O_EXCL) throw systemError("EEXIST", path);
    if (node?.kind === "link" && how & constants.O_NOFOLLOW) throw systemError("ELOOP", path);
    if (!node && !(how & constants.O_CREAT)) throw systemError("ENOENT", path);
    if (!node) {
      node = { kind: "file", bytes: new Uint8Array(), synced: new Uint8Array(), mode };
      this.#change([[path, node]]);
    }
    return this.#file(path, node, how);
  }

  async rename(from: string, to: string) {
    this.#step("rename", to);
    this.#change([[from, null], [to, this.#node(from)]]);
  }

  async link(from: string, to: string) {
    this.#step("link", to);
    if (this.names.has(to)) throw systemError("EEXIST", to);
    this.#change([[to, this.#node(from)]]);
  }

  async copyFile(from: string, to: string) {
    this.#step("copy", to);
    this.#change([[to, { ...this.#node(from), synced: new Uint8Array() }]]);
  }

  async unlink(path: string) {
    this.#step("unlink", path);
    this.#node(path);
    this.#change([[path, null]]);
  }

  async lstat(path: string) {
    this.#step("lstat", path);
    return statOf(this.#node(path));
  }

  async stat(path: string, _options?: unknown) {
    this.#step("stat", path);
    return {
      isDirectory: () => true,
      dev: BigInt(process.pid),
      ino: BigInt(Math.floor(Math.random() * 2 ** 52)),
    };
  }

  async readdir(path: string) {
    this.#step("readdir", path);
    return this.listing;
  }

  #file(path: string, node: Node, how: number) {
    const put = (bytes: Uint8Array, at: number) => {
      const grown = new Uint8Array(Math.max(node.bytes.length, at + bytes.length));
      grown.set(node.bytes);
      grown.set(bytes, at);
      node.bytes = grown;
    };
    this.openFiles += 1;
    return {
      read: async (into: Uint8Array, offset: number, length: number, position: number) => {
        this.#step("read", path);
        const part = node.bytes.subarray(position, position + length);
        into.set(part, offset);
        return { bytesRead: part.length };
      },
      write: async (bytes: Uint8Array, offset = 0, length = bytes.length - offset, position?: number) => {
        const taken = bytes.subarray(offset, offset + Math.min(length, this.writeMax));
        const at = how & constants.O_APPEND ? node.bytes.length : position ?? 0;
        // A write can be cut off in its middle.
        this.#step("write", path, () => put(taken.subarray(0, taken.length >> 1), at));
        put(taken, at);
        return { bytesWritten: taken.length };
      },
      writeFile: async (text: string) => {
        this.#step("write", path);
        put(new TextEncoder().encode(text), 0);
      },
      readFile: async () => new TextDecoder().decode(node.bytes),
      truncate: async (size: number) => {
        this.#step("truncate", path);
        node.bytes = node.bytes.slice(0, size);
      },
      sync: async () => {
        this.#step("sync", path);
        node.synced = node.bytes;
      },
      stat: async () => {
        this.#step("fstat", path);
        return statOf(node);
      },
      close: async () => void (this.openFiles -= 1),
    };
  }

  #folder(path: string) {
    const sync = async () => {
      this.#step("sync folder", path);
      for (const change of this.#pending) apply(this.#durable, change);
      this.#pending = [];
    };
    this.openFiles += 1;
    return { sync, close: async () => void (this.openFiles -= 1) };
  }

  #step(step: string, path: string, inPart = () => {}): void {
    this.steps += 1;
    try {
      this.onStep(step, path);
    } catch (error) {
      inPart();
      throw error;
    }
  }

  #node(path: string): Node {
    const node = this.names.get(path);
    if (node === undefined) throw systemError("ENOENT", path);
    return node;
  }

  #change(change: Change): void {
    apply(this.names, change);
    this.#pending.push(change);
  }
}

function apply(names: Map<string, Node>, change: Change): void {
  for (const [path, node] of change) {
    if (node === null) names.delete(path);
    else names.set(path, node);
  }
}

/** Of what was not synced: nothing, all, or a beginning. */
function cutOff(node: Node, random: () => number): Node {
  const from = node.synced.length, to = node.bytes.length;
  const kept = to > from ? node.bytes.slice(0, from + Math.floor(random() * (to - from + 1))) : node.bytes;
  const isKept = random() < 0.5;
  // A file whose synced part was changed in place is not what this program makes.
  const bytes = isKept && to > from ? kept : node.synced.slice();
  return { ...node, bytes, synced: bytes };
}

function statOf(node: Node) {
  return {
    isFile: () => node.kind === "file",
    isSymbolicLink: () => node.kind === "link",
    isDirectory: () => false,
    size: node.bytes.length,
    mtimeMs: 0,
  };
}

export function systemError(code: string, path = ""): Error {
  return Object.assign(new Error(`${code}: made up, ${path}`), { code });
}
