import { mkdtempSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { Log } from "../../src/lib/log.ts";
import { type Slave, type SlaveOptions, startSlave } from "../../src/slave/slave.ts";
import { bun } from "../kit/runtimes.ts";
import type { FakeMaster } from "./fake_master.ts";

export const here = (name: string): string => fileURLToPath(new URL(name, import.meta.url));

/** So that tests can lease what is to wait. */
export const extraCredit = 100_000;

export type Lines = { level: string; message: string }[];

/** A slave in this process, with workers under Bun. */
export function slaveOf(
  master: Pick<FakeMaster, "port">,
  more: Partial<SlaveOptions> = {},
  lines: Lines = [],
): Slave {
  const log: Log = (level, message) => lines.push({ level, message });
  return startSlave({
    pluginPath: here("handlers.ts"),
    exportName: undefined,
    host: "127.0.0.1",
    port: master.port,
    token: new Uint8Array(32),
    procs: 1,
    concurrency: 1,
    extraCredit,
    command: { command: bun, args: [here("entry.ts"), "worker"] },
    log,
    ...more,
  });
}

/** From now on temporary folders of this process and its children are made in a folder of their own; returns it. */
export function ownTemporaryFolder(): string {
  const folder = mkdtempSync("/tmp/tm-test-");
  process.env.TMPDIR = folder;
  delete process.env.XDG_RUNTIME_DIR;
  return folder;
}
