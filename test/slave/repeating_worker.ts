/**
 * A worker that says how the first job of a slice of two ended, and in its last words the same again, and how the second
 * did. One that is given less does it.
 */
import { writeFileSync } from "node:fs";
import { connect } from "node:net";
import { takeStart } from "../../src/lib/worker_start.ts";
import { callSupervisor, type WorkerLink } from "../../src/link/local_link.ts";
import { encodeMessage } from "../../src/protocol/parse.ts";
import type { WorkerMessage } from "../../src/protocol/messages.ts";

const start = takeStart();
const nothing = { done: [], skipped: [], failed: [], released: [], busyMs: 1 };

callSupervisor(connect(start.address), {
  ...start,
  isInPlace: () => true,
  options: { nowMs: () => performance.now() },
  onLink: work,
  onEnd: () => process.exit(1),
});

function work(link: WorkerLink): void {
  link.onMessage = (message) => {
    if (message.kind === "load") link.send({ kind: "loaded", hash: new Uint8Array(32), options: {} });
    if (message.kind === "setup") link.send({ kind: "prepared" });
    if (message.kind === "quit") process.exit();
    if (message.kind !== "slice") return;
    const { slice, seq, count } = message;
    const first: WorkerMessage = { kind: "answer", ...nothing, slice, done: [seq, seq + 1] };
    link.send(first);
    if (count < 2) return;
    const failure = { seq: seq + 1, how: "threw", message: "at last", stack: "", durationMs: 1 } as const;
    const last: WorkerMessage = { kind: "answer", ...nothing, slice, failed: [failure] };
    writeFileSync(start.last!.path, Buffer.concat([first, last].map(encodeMessage)));
    void link.close("done").then(() => process.exit());
  };
  link.onClose = () => setTimeout(() => process.exit(), 100);
  link.send({ kind: "hello", pid: process.pid, runtime: "test" });
}
