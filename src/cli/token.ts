import { randomBytes } from "node:crypto";
import { link, mkdir, open, unlink } from "node:fs/promises";
import { homedir } from "node:os";
import { dirname, isAbsolute, join } from "node:path";
import { monotonicMs, setTimeout } from "../lib/clock.ts";
import { ConnectError } from "../lib/errors.ts";
import { shellQuote } from "../terminal/text_width.ts";
import { readSecretFile, whyNotSought } from "./secret_file.ts";

/** Fewest random bits a token may hold. */
const bitsMin = 128;
/** Longest beginning of a token that is judged. */
const judgedMax = 1_024;
/**
 * Fewest characters that say something new, of a hexadecimal token and of any other: half of the shortest, or a little
 * more.
 */
const freshMin = { hex: 16, other: 14 } as const;
/** Where there are fewer kinds of characters, each carries less than it could; and fewest bits of all of them then. */
const kindsMin = 8;
const freshBitsMin = 64;
/**
 * A text of many kinds of characters whose steps from one to the next, or the next but one, are no more different is in
 * order.
 */
const stepsMin = 6;
/** Shortest stretch that counts as repeated, or as in order: random tokens have hardly any. */
const stretchMin = 4;

/** A new token: 32 random bytes, as text that survives shells, files and environments. */
export function makeTokenText(): string {
  return randomBytes(32).toString("base64url");
}

/**
 * What is wrong with a token, as the end of "The token in F ..."; undefined if nothing is. The text is judged by
 * what its characters can carry: 4 bits each if all are hexadecimal, else 6. Of a text that is one word several times
 * over, that word counts once; of any other, what came before or can be continued counts little.
 */
export function tokenFault(text: string): string | undefined {
  if (text === "") return "is empty";
  if (!/^[\x21-\x7e]+$/.test(text)) return "holds more than one word of plain characters";
  const isHex = /^[0-9a-f]+$/i.test(text);
  const bitsEach = isHex ? 4 : 6;
  if (text.length * bitsEach < bitsMin) return `is too short to be safe: it needs ${bitsMin} random bits`;
  const judged = text.slice(0, judgedMax).toLowerCase();
  if (periodOf(judged) * bitsEach < bitsMin) {
    return `is one short word over and over, which can be guessed: it needs ${bitsMin} random bits`;
  }
  const kinds = new Set(judged).size;
  if (kinds >= kindsMin && [1, 2].some((apart) => stepsOf(judged, isHex, apart) < stepsMin)) {
    return orderFault;
  }
  const enough = kinds < kindsMin
    ? Math.ceil(freshBitsMin / Math.log2(kinds))
    : isHex
    ? freshMin.hex
    : freshMin.other;
  if (hasFreshCharacters(judged, kinds, enough)) return undefined;
  return orderFault;
}

const orderFault =
  `repeats itself or runs in order, as "aaaa" and "1234" do, so it can be guessed: it needs ${bitsMin} random bits`;

/**
 * The length of the word that this text repeats, at least twice (`word-word`, too); that of the text if there is none.
 */
function periodOf(text: string): number {
  for (let period = 1; period * 2 <= text.length + 1; period++) {
    if (text.startsWith(text.slice(period))) return period;
  }
  return text.length;
}

/**
 * How many different steps there are from one character to another so far apart: few in `000102030405` and `a1b2c3d4`.
 */
function stepsOf(text: string, isHex: boolean, apart: number): number {
  const values = Array.from(text, (char) => isHex ? Number.parseInt(char, 16) : char.charCodeAt(0));
  return new Set(values.slice(apart).map((value, at) => value - values[at]!)).size;
}

/**
 * Whether so many characters of a text say something new: all but those of a stretch that stood before, with the one behind it
 * (`word1word2`), and those of one that is in order such as `abcd`, `4321` and `aaaa`, which counts as one. Of a random text less than half is lost in one case of 10^8.
 */
function hasFreshCharacters(text: string, kinds: number, enough: number): boolean {
  const repeatMin = Math.max(stretchMin, Math.ceil(2 * Math.log(text.length) / Math.log(kinds)));
  // Of few kinds, every other is in order.
  const runMin = kinds < kindsMin ? repeatMin : stretchMin;
  let fresh = 0;
  for (let at = 0; at < text.length && fresh < enough;) {
    const repeat = repeatAt(text, at), run = runAt(text, at);
    if (repeat >= repeatMin) at += repeat + 1;
    else {
      at += run >= runMin ? run : 1;
      fresh++;
    }
  }
  return fresh >= enough;
}

/** How many characters from here on stood in this order before. */
function repeatAt(text: string, at: number): number {
  let length = 0;
  while (at + length < text.length && text.indexOf(text.slice(at, at + length + 1)) < at) length++;
  return length;
}

/** How many characters from here on are in order, each as far from the one before as the second from the first. */
function runAt(text: string, at: number): number {
  const step = text.charCodeAt(at + 1) - text.charCodeAt(at);
  if (!(Math.abs(step) <= 1)) return 1;
  let length = 2;
  while (text.charCodeAt(at + length) - text.charCodeAt(at + length - 1) === step) length++;
  return length;
}

/** The secret as both sides use it: the text's bytes, never decoded, so that it has one meaning. */
export function tokenBytes(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

const elsewhere = "Name another file with --token-file, or put the token itself into TASKMASTER_TOKEN.";
/** Longest token file: a secret is one line. */
const fileBytesMax = 4_096;

/**
 * The text of a token file without the white space around it; undefined if there is none.
 *
 * @throws {ConnectError} if it cannot be read, or if others can read it.
 */
export async function readTokenFile(
  path: string,
  credentialsFolder: string | undefined,
): Promise<string | undefined> {
  const what = { what: "token file", bytesMax: fileBytesMax, otherwise: elsewhere };
  return (await readSecretFile({ path, credentialsFolder, ...what }))?.trim();
}

/**
 * Puts a token into a file of mode 0600 unless the file is there; its folder is made, mode 0700. It appears whole or
 * not at all, and of many processes at once exactly one makes it.
 *
 * @param otherwise what to do when it cannot be made, as a sentence.
 * @returns whether it was this call that made the file.
 * @throws {ConnectError} if it cannot be made.
 */
export async function createTokenFile(path: string, text: string, otherwise = elsewhere): Promise<boolean> {
  try {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    return await writeOnce(path, text);
  } catch (error) {
    throw new ConnectError(
      `Cannot make the token file ${path}: ${(error as Error).message}. ${otherwise}`,
      { cause: error },
    );
  }
}

async function writeOnce(path: string, text: string): Promise<boolean> {
  const temporary = join(dirname(path), `.taskmaster-token-${randomBytes(6).toString("hex")}`);
  try {
    const file = await open(temporary, "wx", 0o600);
    try {
      await file.writeFile(`${text}\n`);
      await file.sync();
    } finally {
      await file.close();
    }
    await link(temporary, path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  } finally {
    await unlink(temporary).catch(() => {});
  }
}

export type TokenSources = Readonly<{
  /** `--token-file`. */
  file: string | undefined;
  /** TASKMASTER_TOKEN. */
  text: string | undefined;
  env: Readonly<Record<string, string | undefined>>;
  /** Path of the compiled binary; undefined when it is a runtime that runs the source. */
  binary: string | undefined;
  /** Make the user's own if there is none. */
  mayCreate: boolean;
  /** Called with a sentence about a token that was found and is not used. */
  warn: (sentence: string) => void;
  /** Where a master of this user may be about to make it: how long to wait for that. @default 0 */
  waitMs?: number;
}>;

type Asked = Pick<TokenSources, "env" | "mayCreate">;

/** A token, and where it came from, in words for a person. */
export type Token = Readonly<{
  text: string;
  from: string;
  /** By `--token-file` or TASKMASTER_TOKEN: no file elsewhere is looked at. */
  isNamed: boolean;
  isNew: boolean;
}>;

/**
 * The shared secret: of `--token-file`, else TASKMASTER_TOKEN, else `taskmaster.token` beside the binary if nobody else
 * can write there, else the user's own, which is made if it may be.
 *
 * @throws {ConnectError} if there is none, or the one that counts is unsafe; nothing further down is tried then.
 */
export async function resolveToken(sources: TokenSources): Promise<Token> {
  const { file, text, env, binary } = sources;
  if (file !== undefined) return { ...await required(file, sources), isNamed: true };
  if (text !== undefined && text.trim() !== "") {
    return { ...judged(text.trim(), "TASKMASTER_TOKEN"), isNamed: true };
  }
  const beside = binary === undefined ? undefined : await tokenBeside(binary, sources.warn);
  const waitMs = sources.waitMs ?? 0;
  for (const untilMs = monotonicMs() + waitMs;;) {
    for (const path of [beside, ownTokenPath(env)]) {
      const found = path === undefined ? undefined : await readTokenFile(path, env["CREDENTIALS_DIRECTORY"]);
      if (found !== undefined) return judged(found, path!);
    }
    if (sources.mayCreate) return await create(ownTokenPath(env), sources);
    if (monotonicMs() >= untilMs) {
      throw waitMs > 0 ? new ConnectError(noTokenHere) : new ConnectError(noToken, { below: copyCommands });
    }
    await new Promise((resolve) => setTimeout(resolve, lookMs));
  }
}

/** Where a token beside the binary would be; undefined if none is looked for there. */
async function tokenBeside(binary: string, warn: (sentence: string) => void): Promise<string | undefined> {
  const path = join(dirname(binary), "taskmaster.token");
  const why = await whyNotSought(path);
  if (why === null) return path;
  if (why !== "") warn(why);
  return undefined;
}

/** How often it is looked for while it is waited for. */
const lookMs = 100;

async function required(path: string, { env, mayCreate }: Asked): Promise<Token> {
  const text = await readTokenFile(path, env["CREDENTIALS_DIRECTORY"]);
  if (text !== undefined) return judged(text, path);
  const command = (file: string) => `\`${shellQuote(["taskmaster", "token", "--write", file])}\``;
  throw new ConnectError(
    mayCreate
      ? `There is no token file ${path}: make one with ${command(path)}.`
      // one that is made here would not be the master's
      : `There is no token file ${path}: on the master's machine run ${
        command("taskmaster.token")
      }, then copy that file here.`,
  );
}

async function create(path: string, asked: Asked): Promise<Token> {
  const isNew = await createTokenFile(path, makeTokenText());
  return { ...await required(path, asked), isNew };
}

/** `taskmaster/token` in the user's folder for settings. */
export function ownTokenPath(env: TokenSources["env"]): string {
  const base = env["XDG_CONFIG_HOME"];
  const home = env["HOME"] || homedir();
  // A relative path there is to be ignored, says the XDG specification.
  return join(base !== undefined && isAbsolute(base) ? base : join(home, ".config"), "taskmaster", "token");
}

function judged(text: string, from: string): Token {
  const fault = tokenFault(text);
  if (fault === undefined) return { text, from, isNamed: false, isNew: false };
  throw new ConnectError(`The token in ${from} ${fault}. \`taskmaster token\` makes a good one.`);
}

const noTokenHere =
  "This user has no token, and no master on this machine has made one meanwhile. Start the master first (`taskmaster " +
  "master plugin.ts`): it makes one. A master of another user, or on another machine, has a token of its own: name its file " +
  "with --token-file, and the machine with --host.";

const noToken =
  "This machine has no token, so no master would let it in. Copy one from the master's machine by the commands " +
  "below, with this machine's name for web1, and start it here again.";
const copyCommands: readonly string[] = [
  "",
  "  taskmaster token --write taskmaster.token",
  "  scp taskmaster taskmaster.token web1:",
];
