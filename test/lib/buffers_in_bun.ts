// Passes 2,000 buffers of 100 kB through a queue of 17 MB; prints the most megabytes of buffers there were.
import { DeadBuffers } from "../../src/lib/runtime.ts";

const isHelped = process.argv[2] === "helped";
const buffers = new DeadBuffers();
const queue: Uint8Array[] = [];
let most = 0;
for (let made = 0; made < 2_000; made++) {
  // `buffer` is asked for, as by each `subarray`: only then the runtime counts it as a buffer of its own.
  const bytes = new Uint8Array(100_000);
  if (bytes.buffer.byteLength > 0) queue.push(bytes);
  if (queue.length > 170) queue.shift();
  if (isHelped) buffers.made(bytes.length);
  if (made % 5 === 0) {
    most = Math.max(most, process.memoryUsage().arrayBuffers);
    await new Promise((resolve) => setImmediate(resolve));
  }
}
console.log(Math.round(most / 1e6));
