import { monotonicMs, setTimeout } from "../base/clock.ts";
import { StateError } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { foreignLookMs } from "../base/state_limits.ts";
import { isSameBytes } from "../base/same_bytes.ts";
import type { Disk } from "./disk.ts";
import { type Holder, holderText } from "./holder.ts";
import { readHeader } from "./read_state_file.ts";
import type { StateFiles } from "./state_files.ts";
import { encodeHeader } from "./state_header.ts";

export type ElsewhereOptions = Readonly<{
  /** How long the state must stay as it is: three heartbeats. */
  watchMs: number;
  /** Asks over the network whether a master of this run answers at an address. */
  isAlive?: ((address: string) => Promise<boolean>) | undefined;
  log: Log;
}>;

/**
 * The last master ran on another host, in another container, or before a reboot, and left no word that it ended.
 * It may still run: asks it, then watches whether the state is still saved. Resolves if it is not.
 *
 * @throws {StateError} if that master runs.
 */
export async function watchElsewhere(
  disk: Disk,
  files: StateFiles,
  note: Holder,
  options: ElsewhereOptions,
): Promise<void> {
  const { watchMs, isAlive, log } = options;
  const who = holderText(note);
  if (note.address !== null && await isAlive?.(note.address).catch(() => false)) {
    throw elsewhereError(files, who, "it answers");
  }
  log(
    "warn",
    `The last master of "${files.key}", ${who}, did not end in order. Watching for ${
      watchMs / 1000
    } s whether it still saves`,
  );
  const before = await look(disk, files.state);
  for (const endMs = monotonicMs() + watchMs; monotonicMs() < endMs;) {
    const pauseMs = Math.min(foreignLookMs, Math.max(1, endMs - monotonicMs()));
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
    if (!isSameBytes(before, await look(disk, files.state))) {
      throw elsewhereError(files, who, "it is saving its state");
    }
  }
}

/** The header, which holds the checksum of all the rest; nothing if there is none. */
async function look(disk: Disk, path: string): Promise<Uint8Array> {
  const header = await readHeader(disk, path);
  return header === null ? new Uint8Array() : encodeHeader(header);
}

function elsewhereError(files: StateFiles, who: string, sign: string): StateError {
  return new StateError(
    `Cannot start "${files.key}" in "${files.dir}": its master runs elsewhere, ${who}: ${sign}. Stop that one first, or ` +
      `give this run a --key of its own.`,
  );
}
