import { clearTimeout, setTimeout } from "../base/clock.ts";
import { createHash } from "node:crypto";
import { connect, createServer, type Server, type Socket } from "node:net";
import { lockAnswerMs } from "../base/state_limits.ts";
import { errorCode } from "./disk.ts";
import { type Holder, parseHolder } from "./holder.ts";

export type SocketLock = Readonly<{ release(): Promise<void> }>;

/**
 * The name of the abstract socket that stands for a key in a folder, whatever path leads there. Abstract names are
 * Linux's: no file, so that nothing is left behind, and the kernel frees them however the process ends.
 */
export function socketName(folder: { dev: bigint; ino: bigint }, key: string): string {
  return `\0taskmaster:${createHash("sha256").update(`${folder.dev}:${folder.ino}:${key}`).digest("hex")}`;
}

/** Holds the name; whoever asks is told who `holder` is. Null if another process holds it. */
export async function holdSocket(name: string, holder: () => Holder): Promise<SocketLock | null> {
  const server = createServer((socket) => {
    // Who asks may be gone already.
    socket.on("error", () => {});
    socket.end(`${JSON.stringify(holder())}\n`);
  });
  if (!await listen(server, name)) return null;
  // The lock keeps no process alive that has nothing else to do.
  server.unref();
  return { release: () => new Promise((resolve) => server.close(() => resolve())) };
}

function listen(server: Server, name: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    server.once("error", (error) => errorCode(error) === "EADDRINUSE" ? resolve(false) : reject(error));
    server.listen({ path: name }, () => resolve(true));
  });
}

/** Who holds the name; null if the holder does not say, for it may be stopped, or gone by now. */
export async function askHolder(name: string): Promise<Holder | null> {
  return await new Promise((resolve) => {
    let text = "";
    const socket: Socket = connect({ path: name });
    const timer = setTimeout(() => socket.destroy(), lockAnswerMs);
    socket.setEncoding("utf8");
    socket.on("data", (part: string) => text += part);
    socket.on("error", () => {});
    socket.on("close", () => {
      clearTimeout(timer);
      resolve(parseHolder(text));
    });
  });
}
