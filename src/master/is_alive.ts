import { hostname } from "node:os";
import { parseAddress } from "../base/address.ts";
import { handshakeMs } from "../base/limits.ts";
import { dial } from "../link/dial.ts";
import { newId } from "./ids.ts";
import { monotonicMs } from "./timer.ts";

export type AliveOptions = Readonly<{
  token: Uint8Array | null;
  version: string;
  /** The run that the state on disk is of; null if that cannot be read: then a master of this key counts. */
  runId: () => Promise<string | null>;
  key: string;
}>;

/**
 * Whether a master of this run answers at `address`: its WELCOME to a control connection names run and key. A
 * master of another token or version cannot be told from a stranger and counts as none; the state is watched then.
 */
export async function isMasterAlive(address: string, options: AliveOptions): Promise<boolean> {
  const parsed = parseAddress(address, { host: "127.0.0.1", port: 0 });
  if (parsed === undefined || parsed.port === 0) return false;
  const { token, version } = options;
  const { link, welcome } = await dial({
    ...parsed,
    token,
    intro: {
      slaveId: newId(),
      name: `${hostname()}:${process.pid}`,
      version,
      procs: 0,
      plugin: null,
      runtime: "",
    },
    role: "control",
    nowMs: monotonicMs,
    signal: AbortSignal.timeout(handshakeMs),
  });
  void link.close("it was told which run that is");
  const runId = await options.runId();
  return welcome.key === options.key && (runId === null || welcome.runId === runId);
}
