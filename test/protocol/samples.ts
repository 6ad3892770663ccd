import { prefixBytes, writePrefix } from "../../src/protocol/frames.ts";
import type { Introduction, Welcome } from "../../src/protocol/messages.ts";

const plugin = { name: "posts.ts", export: "default", hash: new Uint8Array(32).fill(0xab) };

export const welcome: Welcome = {
  runId: "run-1",
  masterId: "master-1",
  key: "posts",
  epoch: 1,
  plugin,
  args: { table: "posts" },
  timeoutMs: 0,
  heartbeatMs: 5_000,
  graceMs: 30_000,
  features: [],
};

export const introduction: Introduction = {
  slaveId: "slave-1",
  name: "web1 (4711)",
  version: "0.1.0",
  procs: 4,
  plugin,
  runtime: "bun 1.4.5",
  features: [],
};

/** A whole frame: the length of `body` in four bytes, and `body`. */
export function frame(body: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(prefixBytes + body.length);
  writePrefix(bytes, body.length);
  bytes.set(body, prefixBytes);
  return bytes;
}
