import { monotonicMs } from "../base/clock.ts";
import { hostname } from "node:os";
import { parseAddress } from "../base/address.ts";
import { handshakeMs } from "../base/limits.ts";
import { readCertificate } from "../link/certificate.ts";
import { dial } from "../link/dial.ts";
import { TlsClient } from "../link/tls_client.ts";
import type { MasterTls } from "../link/tls_gate.ts";
import { features } from "../protocol/handshake.ts";
import { newId } from "./ids.ts";

export type AliveOptions = Readonly<{
  token: Uint8Array | null;
  /** This master's own: the other one is known by the same certificate. */
  tls?: MasterTls | undefined;
  version: string;
  /** The run that the state on disk is of; null if that cannot be read: then a master of this key counts. */
  runId: () => Promise<string | null>;
  key: string;
}>;

/**
 * Whether a master of this run answers at `address`: its WELCOME to a control connection names run and key. A
 * master of another token, version or certificate cannot be told from a stranger and counts as none; the state is watched then.
 */
export async function isMasterAlive(address: string, options: AliveOptions): Promise<boolean> {
  const parsed = parseAddress(address, { host: "127.0.0.1", port: 0 });
  if (parsed === undefined || parsed.port === 0) return false;
  const { token, tls, version } = options;
  const { link, welcome } = await dial({
    ...parsed,
    token,
    tls: tls && new TlsClient({
      trust: { kind: "pin", hash: readCertificate(tls.cert).hash },
      identity: tls,
    }),
    intro: {
      slaveId: newId(),
      name: `${hostname()}:${process.pid}`,
      version,
      procs: 0,
      plugin: null,
      runtime: "",
      features,
    },
    role: "control",
    nowMs: monotonicMs,
    signal: AbortSignal.timeout(handshakeMs),
  });
  void link.close("it was told which run that is");
  const runId = await options.runId();
  return welcome.key === options.key && (runId === null || welcome.runId === runId);
}
