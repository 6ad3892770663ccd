import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { randomBytes } from "node:crypto";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import type { Log } from "../base/log.ts";
import { noteFileBytes } from "../base/start_note.ts";

/** Longest path of a Unix socket on every system, with room to spare. */
const socketPathCharsMax = 100;
const isWindows = process.platform === "win32";

/**
 * Where the workers of one slave meet their supervisor: a socket, and a folder for their notes, both of this user
 * alone. Where no folder is writable the socket has an abstract name and there are no notes.
 */
export class Door {
  /** What to connect to. */
  readonly address: string;
  /** Null if none is writable. */
  readonly folder: string | null;
  readonly #server: Server;

  private constructor(server: Server, address: string, folder: string | null) {
    this.#server = server;
    this.address = address;
    this.folder = folder;
  }

  /** @throws {Error} if no socket can be made. */
  static async open(onSocket: (socket: Socket) => void, log: Log): Promise<Door> {
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
    server.on("error", (error) => log("warn", `The socket for workers failed: ${error.message}`));
    return new Door(server, address, folder);
  }

  /** The path of a file for this worker; null if there is no folder. */
  path(worker: number, what: "note" | "last"): string | null {
    return this.folder === null ? null : join(this.folder, `${worker}.${what}`);
  }

  /** Whether the folder, if any, is still there: a logout may have taken it away. */
  get isThere(): boolean {
    return this.folder === null || existsSync(this.folder);
  }

  /** Idempotent, and synchronous as far as files go. */
  close(): void {
    this.#server.close();
    if (this.folder !== null) rmSync(this.folder, { recursive: true, force: true });
  }
}

function makeFolder(): string | null {
  // What a logout clears comes last: a slave may go on without its user.
  const parents = [tmpdir(), "/tmp", "/var/tmp", homedir(), process.env.XDG_RUNTIME_DIR, "/dev/shm"];
  for (const parent of parents) {
    if (!parent || (join(parent, "taskmaster-123456/s").length > socketPathCharsMax && !isWindows)) continue;
    const folder = makeFolderIn(parent);
    if (folder !== null) return folder;
  }
  return null;
}

/** Null if it cannot be made, or not hold notes. */
function makeFolderIn(parent: string): string | null {
  let folder: string | null = null;
  try {
    folder = mkdtempSync(join(parent, "taskmaster-"));
    chmodSync(folder, 0o700);
    writeFileSync(join(folder, "0.note"), new Uint8Array(noteFileBytes), { mode: 0o600 });
    rmSync(join(folder, "0.note"));
    return folder;
  } catch {
    if (folder !== null) rmSync(folder, { recursive: true, force: true });
    return null;
  }
}

function socketAddress(folder: string | null): string {
  const name = `taskmaster-${randomBytes(12).toString("hex")}`;
  if (isWindows) return `\\\\.\\pipe\\${name}`;
  return folder === null ? `\0${name}` : join(folder, "s");
}
