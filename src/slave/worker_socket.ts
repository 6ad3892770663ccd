import { randomBytes } from "node:crypto";
import { closeSync, unlinkSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { monotonicMs } from "../lib/clock.ts";
import { strangerLogMs } from "../lib/limits.ts";
import type { Log } from "../lib/log.ts";
import {
  isKeptFromOthers,
  isOwnFolder,
  isThere,
  makeOwnFile,
  makeOwnFolder,
  type OwnFile,
  ownFileAt,
  realPath,
  removeOwnFolder,
} from "../lib/own_file.ts";
import { noteFileBytes } from "../lib/worker_start.ts";

/** Longest path of a Unix socket on every system, with room to spare. */
const socketPathCharsMax = 100;
const { platform } = process;
/** The files in the folder of a door: the socket, and what workers write. */
const isOfWorkerSocket = (name: string): boolean => /^(?:s|\d+\.(?:note|last))$/.test(name);

/** `isKept`: nobody else can put another one in its place. */
type Folder = OwnFile & Readonly<{ isKept: boolean }>;

/**
 * Where the workers of one slave meet their supervisor: a socket, and a folder for their notes, both of this user
 * alone. The socket is in the folder, unless that could be renamed by others: then, and where no folder is writable, it has an
 * abstract name on Linux. Without a folder there are no notes.
 */
export class WorkerSocket {
  /** What to connect to. */
  readonly address: string;
  /** Null if none is writable. */
  readonly folder: OwnFile | null;
  readonly #server: Server;
  /** The socket as it was made; null if it is no file. */
  readonly socket: OwnFile | null;

  private constructor(server: Server, address: string, folder: OwnFile | null, socket: OwnFile | null) {
    this.#server = server;
    this.address = address;
    this.folder = folder;
    this.socket = socket;
  }

  /** @throws {Error} if no socket can be made. */
  static async open(onSocket: (socket: Socket) => void, log: Log): Promise<WorkerSocket> {
    const folder = makeFolder();
    if (folder === null) {
      log("warn", "No temporary folder is writable: a worker that dies has all its jobs for suspects");
    }
    const address = socketAddress(folder);
    const server = createServer(onSocket);
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(address, resolve);
    });
    let loggedAtMs = -Infinity;
    server.on("error", (error) => {
      if (monotonicMs() < loggedAtMs + strangerLogMs) return;
      loggedAtMs = monotonicMs();
      log("warn", `The socket for workers failed: ${error.message}`);
    });
    const isFile = folder !== null && address.startsWith(folder.path);
    const workerSocket = new WorkerSocket(server, address, folder, isFile ? ownFileAt(address) : null);
    if (workerSocket.isThere) return workerSocket;
    workerSocket.close();
    throw new Error("the folder for workers was replaced as it was made");
  }

  /**
   * Makes a file for this worker, empty but for zeros; null if there is no folder.
   *
   * @throws {Error} if something is there, the folder is gone or no more what it was, or its disk is full.
   */
  makeFile(worker: number, what: "note" | "last", bytes: number): ReturnType<typeof makeOwnFile> | null {
    if (this.folder === null) return null;
    if (!this.isThere) throw new Error("their folder is gone, or another one is in its place");
    return makeOwnFile(join(this.folder.path, `${worker}.${what}`), new Uint8Array(bytes));
  }

  /** Whether folder and socket, if any, are still those that were made: a logout may have taken them away, and anybody made others. */
  get isThere(): boolean {
    return (this.folder === null || isOwnFolder(this.folder)) &&
      (this.socket === null || isThere(this.socket));
  }

  /** Idempotent, and synchronous as far as files go. */
  close(): void {
    // The runtime removes whatever is at the path of its socket: in a folder that is no more ours, that is not ours either.
    if (this.isThere) this.#server.close();
    else this.#server.unref().removeAllListeners("connection").on("connection", (socket) => socket.destroy());
    if (this.folder !== null) removeOwnFolder(this.folder, isOfWorkerSocket);
  }
}

/** Best is one that others cannot rename. */
function makeFolder(): Folder | null {
  // What a logout clears comes last: a slave may go on without its user.
  const parents = [tmpdir(), "/tmp", "/var/tmp", homedir(), process.env.XDG_RUNTIME_DIR, "/dev/shm"]
    .flatMap((parent) => parent ? parentAt(parent) ?? [] : []);
  for (const isKept of [true, false]) {
    for (const parent of parents) {
      const folder = parent.isKept === isKept ? makeFolderIn(parent.path) : null;
      if (folder !== null) return { ...folder, isKept };
    }
  }
  return null;
}

/** Null if a folder in it would be of no use. */
function parentAt(parent: string): Readonly<{ path: string; isKept: boolean }> | null {
  try {
    const path = realPath(parent);
    if (join(path, "taskmaster-123456/s").length > socketPathCharsMax && platform !== "win32") return null;
    return { path, isKept: isKeptFromOthers(path) };
  } catch {
    return null;
  }
}

/** Null if it cannot be made, or not hold notes. */
function makeFolderIn(parent: string): OwnFile | null {
  let folder: OwnFile | null = null;
  try {
    folder = makeOwnFolder(join(parent, "taskmaster-"));
    const { file, fd } = makeOwnFile(join(folder.path, "0.note"), new Uint8Array(noteFileBytes));
    closeSync(fd);
    unlinkSync(file.path);
    return folder;
  } catch {
    if (folder !== null) removeOwnFolder(folder, isOfWorkerSocket);
    return null;
  }
}

function socketAddress(folder: Folder | null): string {
  const name = `taskmaster-${randomBytes(12).toString("hex")}`;
  if (platform === "win32") return `\\\\.\\pipe\\${name}`;
  const isAbstract = folder === null || (!folder.isKept && platform === "linux");
  return isAbstract ? `\0${name}` : join(folder.path, "s");
}
