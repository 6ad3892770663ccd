import { UsageError } from "../base/errors.ts";
import { printable } from "../base/printable.ts";
import { argCharsMax, argsMax, idCharsMax, welcomeBytesMax } from "../base/wire_limits.ts";
import { encode } from "../protocol/codec.ts";
import { headerBytes, macBytes } from "../protocol/handshake.ts";
import { toWelcome } from "./opening.ts";
import type { MasterOptions } from "./types.ts";

const inFile = "put them in a file, and give its name instead";

/**
 * Refuses arguments that no slave could be told, before anything is opened for them.
 *
 * @throws {UsageError} if there are too many, one is too long, or all together are.
 */
export function checkArgs(options: MasterOptions): void {
  const args = Object.entries(options.args);
  if (args.length > argsMax) {
    throw new UsageError(
      `Cannot start with ${args.length} arguments: a run takes at most ${argsMax}; ${inFile}.`,
    );
  }
  const long = args.find(([, value]) => value.length > argCharsMax);
  if (long !== undefined) {
    const [name, value] = long;
    throw new UsageError(
      `Cannot start with the argument "${
        printable(name, 80)
      }": it has ${value.length} characters, and a run takes ` +
        `values of at most ${argCharsMax}; put it in a file, and give its name instead.`,
    );
  }
  const bytes = welcomeBytes(options);
  if (bytes <= welcomeBytesMax) return;
  throw new UsageError(
    `Cannot start with these arguments: they make what each slave is told ${bytes} bytes long, and a run takes ` +
      `at most ${welcomeBytesMax}; ${inFile}.`,
  );
}

/** Of the longest WELCOME that a run with these options can have. */
function welcomeBytes(options: MasterOptions): number {
  const id = "x".repeat(idCharsMax);
  const welcome = toWelcome(options, { runId: id, epoch: Number.MAX_SAFE_INTEGER }, id);
  return headerBytes + macBytes + encode(welcome).length;
}
