import type { OperatorSettings, RunState } from "../core/types.ts";
import { cborDepthMax, cborItemsMax } from "../base/limits.ts";
import { settingsMax, settingTextCharsMax, stateBytesPerString } from "../base/state_limits.ts";
import { decode } from "../protocol/codec.ts";
import { checkDensity } from "../protocol/density.ts";
import { FrameError } from "../protocol/frame_error.ts";
import { prescan, scanItem } from "../protocol/prescan.ts";
import { asBytes, asCount, asFields, asFlag, asHash, asList, asText, DamageError, orNull } from "./fields.ts";
import type { Identity } from "./identity.ts";
import { parseStranded } from "./parse_stranded.ts";
import type { StateContents } from "./state_body.ts";
import { headerBytes } from "./state_header.ts";

/**
 * The body of a state file as a CBOR item, not yet checked.
 *
 * @throws {DamageError} if it is none.
 */
export function decodeBody(bytes: Uint8Array): unknown {
  scan(bytes, "the body", () => checkDensity(bytes, [], stateBytesPerString));
  return decode(bytes);
}

/**
 * Checks every field, for the file is foreign input, and that the numbers add up.
 *
 * @throws {DamageError} naming the first field that is wrong.
 */
export function parseBody(body: unknown): StateContents {
  const [head, pieces, jobs] = asList(body, "the body", 3);
  const fields = asFields(head, "the head");
  const stranded = parseStranded(
    asList(pieces, "stranded"),
    asBytes(fields.lengths, "lengths"),
    asBytes(jobs, "jobs"),
  );
  return { identity: parseIdentity(fields), state: checkSums({ ...parseRun(fields), stranded }) };
}

/** The counters of a state file that is damaged elsewhere, or cut off; null if they cannot be read. */
export function readCounters(file: Uint8Array): { handedOut: number; settled: number } | null {
  try {
    // The head is the first item of the list that the body is.
    const body = file.subarray(headerBytes + 1);
    const head = body.subarray(0, scanItem(body, 0, body.length, cborDepthMax, cborItemsMax));
    checkDensity(head, [], stateBytesPerString);
    const fields = asFields(decode(head), "the head");
    const [done, skipped, dead] = [fields.done, fields.skipped, fields.dead].map((field) =>
      asCount(field, "a count")
    );
    return { handedOut: asCount(fields.handedOut, "handedOut"), settled: done! + skipped! + dead! };
  } catch (error) {
    if (error instanceof DamageError || error instanceof FrameError) return null;
    throw error;
  }
}

function parseIdentity(fields: Readonly<Record<string, unknown>>): Identity {
  const pairs = asList(fields.args, "args").map((pair) =>
    asList(pair, "args", 2).map((word) => asText(word, "args"))
  );
  return {
    runId: asText(fields.runId, "runId"),
    plugin: asText(fields.plugin, "plugin"),
    exportName: asText(fields.exportName, "exportName"),
    args: Object.fromEntries(pairs) as Record<string, string>,
    pluginHash: asBytes(fields.pluginHash, "pluginHash"),
  };
}

function parseRun(fields: Readonly<Record<string, unknown>>): Omit<RunState, "stranded"> {
  return {
    handedOut: asCount(fields.handedOut, "handedOut"),
    handedOutAgain: asCount(fields.handedOutAgain, "handedOutAgain"),
    againToCome: asCount(fields.againToCome, "againToCome"),
    done: asCount(fields.done, "done"),
    skipped: asCount(fields.skipped, "skipped"),
    dead: asCount(fields.dead, "dead"),
    repeated: asCount(fields.repeated, "repeated"),
    repeatedAtLeast: asFlag(fields.repeatedAtLeast, "repeatedAtLeast"),
    last: orNull(fields.last, "last", parseLast),
    firstJobHash: orNull(fields.firstJobHash, "firstJobHash", asHash),
    complete: asFlag(fields.complete, "complete"),
    final: asFlag(fields.final, "final"),
    settings: parseSettings(asFields(fields.settings, "settings")),
  };
}

function parseLast(value: unknown, name: string): NonNullable<RunState["last"]> {
  const [cursor, jobHash] = asList(value, name, 2);
  const bytes = asBytes(cursor, "the cursor of last");
  scan(bytes, "the cursor of last");
  return { cursor: bytes, jobHash: asHash(jobHash, "the job hash of last") };
}

const settingName = /^[A-Za-z][A-Za-z0-9._:-]{0,63}$/;

/** Whatever the names are: what a version knows that set them is not known here. */
function parseSettings(fields: Readonly<Record<string, unknown>>): OperatorSettings {
  const settings = Object.entries(fields);
  if (settings.length > settingsMax) throw new DamageError(`there are ${settings.length} settings`);
  return new Map(settings.map(([name, value]) => {
    if (settingName.test(name) && isScalar(value)) return [name, value];
    throw new DamageError(`a setting is none`);
  }));
}

function isScalar(value: unknown): value is boolean | number | string | null {
  if (typeof value === "string") return value.length <= settingTextCharsMax;
  return value === null || typeof value === "boolean" || Number.isFinite(value);
}

/** The promise that makes the numbers honest: every job handed out is accounted for. */
function checkSums(state: RunState): RunState {
  const { handedOut, handedOutAgain, done, skipped, dead, stranded, last, firstJobHash, complete } = state;
  const jobs = stranded.reduce((sum, { span }) => sum + span.count, 0);
  if (handedOut !== done + skipped + dead + jobs) {
    const sum = `${done} done + ${skipped} skipped + ${dead} dead + ${jobs} stranded`;
    throw new DamageError(`${handedOut} handed out is not ${sum}`);
  }
  if (handedOutAgain > handedOut) {
    throw new DamageError(`${handedOutAgain} of ${handedOut} are handed out again`);
  }
  if (complete && jobs > 0) throw new DamageError(`it is complete, with ${jobs} stranded`);
  if (handedOut > 0 && (last === null || firstJobHash === null)) throw new DamageError("last is missing");
  return state;
}

function scan(bytes: Uint8Array, name: string, more?: () => void): void {
  try {
    prescan(bytes, { itemsMax: Infinity });
    more?.();
  } catch (error) {
    if (error instanceof FrameError) throw new DamageError(`${name} is damaged: ${error.message}`);
    throw error;
  }
}
