import { homedir } from "node:os";
import { dirname, isAbsolute, join } from "node:path";
import { ConnectError } from "../../base/errors.ts";
import { monotonicMs, setTimeout } from "../../base/clock.ts";
import { shellQuote } from "../../terminal/shell_quote.ts";
import { whyNotSought } from "../secret_file.ts";
import { createTokenFile, readTokenFile } from "./token_file.ts";
import { makeTokenText, tokenFault } from "./token_text.ts";

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
  /** Told, as a sentence, of a token that is there and is not taken. */
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
