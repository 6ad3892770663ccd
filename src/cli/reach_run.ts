import { hostname, userInfo } from "node:os";
import { basename, dirname } from "node:path";
import { ControlClient } from "../control/client.ts";
import { parseFingerprint } from "../lib/bytes.ts";
import { ConnectError } from "../lib/errors.ts";
import { version } from "../lib/runtime.ts";
import { printable, reported } from "../lib/text.ts";
import { type Address, formatAddress, parseAddress } from "../lib/units.ts";
import { TlsClient } from "../link/tls.ts";
import { features } from "../protocol/handshake.ts";
import { readRunOwner, type RunOwner } from "../state/store.ts";
import type { Invocation } from "./command.ts";
import { masterAccess } from "./credentials.ts";
import { hostDefault, type Settings } from "./options.ts";
import { filesOfRun } from "./run_name.ts";

/** Where a master is, and what its certificate must be if that is known. */
type Place = Readonly<{ address: Address; key: string | undefined; fingerprint: Uint8Array | undefined }>;

/**
 * Connects to the master of a run: the one at `--host`, or the one that the lock file beside the state names; without
 * either the one at the default address.
 *
 * @param word A plugin or a key; undefined if none was given.
 * @throws {ConnectError} in a sentence, if there is none, or none that answers.
 */
export async function connectToRun(
  word: string | undefined,
  settings: Settings,
  invocation: Invocation,
): Promise<ControlClient> {
  const { address, key, fingerprint } = await findMaster(word, settings);
  const isTlsGiven = settings.tls || settings["tls-pin"] !== undefined || settings["tls-ca"] !== undefined;
  const warn = (sentence: string) => void process.stderr.write(reported(sentence));
  const { token, tokenFrom, tls } = await masterAccess(
    { ...settings, host: address, "tls-pin": isTlsGiven ? settings["tls-pin"] : fingerprint },
    invocation,
    warn,
  );
  const client = await ControlClient.connect({
    ...address,
    token,
    tokenFrom,
    tls: tls && new TlsClient(tls),
    onSilent: warn,
    intro: {
      slaveId: `control:${process.pid}`,
      name: whoAsks(),
      version,
      procs: 0,
      plugin: null,
      runtime: "",
      features,
    },
  });
  const { key: answering } = client.welcome;
  if (key === undefined || answering === key) return client;
  await client.close();
  const where = formatAddress(address);
  const other = `there answers a master of "${printable(answering, 80)}"`;
  throw new ConnectError(
    settings.host === undefined
      ? `The lock file of "${key}" names ${where}, and ${other}: start that run again, or name its master with --host.`
      : `--key says "${key}", and --host ${where}, but ${other}.`,
  );
}

/** As the master's log names whoever did something. Bun takes the name from variables that a service has not. */
function whoAsks(): string {
  const { USER, LOGNAME } = process.env;
  const user = USER || LOGNAME ||
    (process.getuid === undefined ? userInfo().username : `uid ${process.getuid()}`);
  return `${user}@${hostname()}:${process.pid}`;
}

async function findMaster(word: string | undefined, settings: Settings): Promise<Place> {
  const named = word ?? settings.key;
  if (settings.host !== undefined || named === undefined) {
    const address = settings.host ?? hostDefault("status");
    return { address, key: settings.key, fingerprint: undefined };
  }
  const statePath = filesOfRun(named, settings).state;
  const key = basename(statePath, ".state");
  const owner = await readRunOwner(dirname(statePath), key);
  const address = addressOf(owner, key, dirname(statePath));
  return { address, key, fingerprint: parseFingerprint(owner?.fingerprint ?? "") };
}

function addressOf(owner: RunOwner | null, key: string, folder: string): Address {
  const elsewhere = "Name its master with --host if it runs elsewhere.";
  if (owner === null) {
    throw new ConnectError(
      `No master of "${key}" runs: there is no ${key}.lock in "${folder}". Start the run, or name another folder with ` +
        `--state-dir. ${elsewhere}`,
    );
  }
  const who = `pid ${owner.pid} on "${printable(owner.host)}"`;
  if (owner.isAlive === false) {
    throw new ConnectError(
      `The master of "${key}" (${who}) has died without a word: start the run again, and it goes on. ${elsewhere}`,
    );
  }
  const address = parseAddress(owner.address ?? "", { host: "127.0.0.1", port: 0 });
  if (owner.address === null || address === undefined || address.port === 0) {
    throw new ConnectError(`The master of "${key}" (${who}) is just starting: try again.`);
  }
  return address;
}
