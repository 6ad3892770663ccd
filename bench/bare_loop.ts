// The limit to approach: cbor-x batches of 256 jobs over one TCP connection between two processes, and no
// bookkeeping at all: no leases, no checks, no retries, no state. Prints `begin` and `end` around the jobs.
//   bun bench/bare_loop.ts small 2000000 [plain|tuned]
// `tuned`: it sends without delay, as taskmaster does.
import { type ChildProcess, spawn } from "node:child_process";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import process from "node:process";
import { decode, encode } from "cbor-x/index-no-eval";
import { makerOf } from "./rows.ts";

const batchJobs = 256;
/** Batches sent and not acknowledged: enough to keep both ends busy. */
const window = 32;

const [shape = "small", count = "1000000", how = "plain", port] = process.argv.slice(2);
if (!Number.isInteger(Number(count)) || Number(count) < 1) {
  console.error(`Cannot send "${count}" jobs: it must be a whole number from 1.`);
  process.exitCode = 2;
} else if (port === undefined) send(makerOf(shape), Number(count));
else receive(Number(port));

/** Encodes and sends all jobs. */
function send(make: (id: number) => unknown, jobs: number): void {
  const server = createServer((socket) => {
    if (how === "tuned") socket.setNoDelay(true);
    console.log("begin");
    let sent = 0, acked = 0;
    const pump = () => {
      while (sent < jobs && sent - acked < window * batchJobs) {
        const batch: unknown[] = [];
        for (const end = Math.min(jobs, sent + batchJobs); sent < end; sent++) batch.push(make(sent));
        writeFrame(socket, encode(batch));
      }
    };
    readFrames(socket, (body) => {
      acked += decode(body) as number;
      if (acked < jobs) return pump();
      console.log("end");
      socket.end();
      server.close();
    });
    pump();
  });
  server.listen(0, "127.0.0.1", () => {
    const { port } = server.address() as AddressInfo;
    const flags = process.versions.deno === undefined ? [] : ["run", "-A"];
    const words = [...flags, process.argv[1]!, shape, count, how, String(port)];
    const receiver: ChildProcess = spawn(process.execPath, words, { stdio: "inherit" });
    setTimeout(() => receiver.kill("SIGKILL"), 120_000).unref();
  });
}

/** Decodes every batch, touches every job, acknowledges the batch. */
function receive(port: number): void {
  const socket = connect(port, "127.0.0.1");
  socket.setNoDelay(true);
  readFrames(socket, (body) => {
    let handled = 0;
    for (const job of decode(body) as unknown[]) if (job !== undefined) handled++;
    writeFrame(socket, encode(handled));
  });
}

function writeFrame(socket: Socket, body: Uint8Array): void {
  const frame = new Uint8Array(4 + body.length);
  new DataView(frame.buffer).setUint32(0, body.length);
  frame.set(body, 4);
  socket.write(frame);
}

function readFrames(socket: Socket, onFrame: (body: Uint8Array) => void): void {
  let pending = Buffer.alloc(0);
  socket.on("data", (chunk: Buffer) => {
    let bytes = pending.length === 0 ? chunk : Buffer.concat([pending, chunk]);
    while (bytes.length >= 4 && bytes.length >= 4 + bytes.readUInt32BE(0)) {
      const end = 4 + bytes.readUInt32BE(0);
      onFrame(bytes.subarray(4, end));
      bytes = bytes.subarray(end);
    }
    pending = Buffer.from(bytes);
  });
}
