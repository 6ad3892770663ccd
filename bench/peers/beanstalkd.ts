// beanstalkd, by its text protocol (doc/protocol.txt), pipelined. As a program it is one side of the measurement:
//   bun bench/peers/beanstalkd.ts produce|consume PORT SHAPE JOBS
import { connect, type Socket } from "node:net";
import process from "node:process";
import { decode, encode } from "cbor-x/index-no-eval";
import type { Rig } from "../rig.ts";
import { makerOf } from "../rows.ts";
import type { Load, System } from "../system.ts";
import { produceAndConsume } from "./sides.ts";
import { findProgram } from "./versions.ts";

/** Commands sent and not answered. */
const window = 500;

export const beanstalkd: System = {
  id: "beanstalkd",
  label: "beanstalkd",
  kind: "peer",
  setting:
    `one job a message, a delete for each; up to ${window} commands under way on each connection; one ` +
    "producer, one consumer. Jobs in memory only (no `-b`), as it is by default",
  jobs: { small: 200_000, row: 200_000 },
  find: () => findProgram("beanstalkd", ["-v"], "beanstalkd"),
  async run({ shape, jobs }: Load, rig: Rig) {
    const port = await rig.serve("beanstalkd", (port) => ["-l", "127.0.0.1", "-p", String(port)]);
    return produceAndConsume(rig, import.meta.filename!, [port, shape, jobs]);
  },
};

function produce(socket: Socket, make: (id: number) => unknown, jobs: number): void {
  let sent = 0, stored = 0;
  const pump = () => {
    const parts: Uint8Array[] = [];
    for (; sent < jobs && sent - stored < window; sent++) {
      const body = encode(make(sent));
      parts.push(Buffer.from(`put 0 0 60 ${body.length}\r\n`), body, Buffer.from("\r\n"));
    }
    socket.write(Buffer.concat(parts));
  };
  readReplies(socket, (line) => {
    if (!line.startsWith("INSERTED ")) throw new Error(`Cannot put: ${line}`);
    stored++;
  }, () => stored === jobs ? socket.end() : sent - stored <= window / 2 && pump());
  console.log("begin");
  pump();
}

/** As many reserves as there are jobs: one more would wait for ever, and what is behind it too. */
function consume(socket: Socket, jobs: number): void {
  let reserving = 0, deleted = 0, commands = "";
  const reserve = () => {
    if (reserving++ < jobs) commands += "reserve\r\n";
  };
  readReplies(socket, (line, body) => {
    if (line === "DELETED") return void deleted++;
    if (body === null || decode(body) === undefined) throw new Error(`Cannot reserve: ${line}`);
    commands += `delete ${line.split(" ")[1]}\r\n`;
    reserve();
  }, () => {
    if (deleted === jobs) {
      console.log("end");
      socket.end();
    } else if (commands !== "") socket.write(commands);
    commands = "";
  });
  for (let at = 0; at < window; at++) reserve();
  socket.write(commands);
  commands = "";
  console.log("ready");
}

/** Calls back for each reply, with the body of a RESERVED one, and after those that came together. */
function readReplies(
  socket: Socket,
  onReply: (line: string, body: Uint8Array | null) => void,
  onTurn: () => void,
): void {
  let pending = Buffer.alloc(0);
  socket.on("data", (chunk: Buffer) => {
    const bytes = pending.length === 0 ? chunk : Buffer.concat([pending, chunk]);
    let at = 0;
    for (let end = bytes.indexOf("\r\n"); end >= 0; end = bytes.indexOf("\r\n", at)) {
      const line = bytes.toString("latin1", at, end);
      const size = line.startsWith("RESERVED ") ? Number(line.split(" ")[2]) : -1;
      const next = end + 2 + (size < 0 ? 0 : size + 2);
      if (next > bytes.length) break;
      onReply(line, size < 0 ? null : bytes.subarray(end + 2, end + 2 + size));
      at = next;
    }
    pending = Buffer.from(bytes.subarray(at));
    onTurn();
  });
}

if (import.meta.main) {
  const [side, port, shape = "", jobs] = process.argv.slice(2);
  const socket = connect(Number(port), "127.0.0.1").setNoDelay(true);
  socket.on("connect", () => {
    if (side === "produce") produce(socket, makerOf(shape), Number(jobs));
    else consume(socket, Number(jobs));
  });
}
