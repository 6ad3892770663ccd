import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { randomBytes } from "node:crypto";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import type { Log } from "../base/log.ts";

/** Longest path of a Unix socket on every system, with room to spare. */
const socketPathCharsMax = 100;

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

  /** Idempotent, and synchronous as far as files go. */
  close(): void {
    this.#server.close();
    if (this.folder !== null) rmSync(this.folder, { recursive: true, force: true });
  }
}

function makeFolder(): string | null {
  // First where files are memory: workers write notes thousands of times a second.
  const { XDG_RUNTIME_DIR, TMPDIR } = process.env;
  const parents = [XDG_RUNTIME_DIR, TMPDIR, "/dev/shm", tmpdir(), "/tmp", "/var/tmp", homedir()];
  for (const parent of parents) {
    if (!parent) continue;
    try {
      const folder = mkdtempSync(join(parent, "taskmaster-"));
      if (join(folder, "s").length > socketPathCharsMax && process.platform !== "win32") {
        rmSync(folder, { recursive: true });
        continue;
      }
      chmodSync(folder, 0o700);
      return folder;
    } catch {
      // The next one, then.
    }
  }
  return null;
}

function socketAddress(folder: string | null): string {
  const name = `taskmaster-${randomBytes(12).toString("hex")}`;
  if (process.platform === "win32") return `\\\\.\\pipe\\${name}`;
  return folder === null ? `\0${name}` : join(folder, "s");
}
