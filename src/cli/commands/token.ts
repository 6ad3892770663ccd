import { basename, resolve } from "node:path";
import { UsageError } from "../../lib/errors.ts";
import { printable, reported } from "../../lib/text.ts";
import { shellQuote } from "../../terminal/text_width.ts";
import type { Invocation } from "../command.ts";
import { compiledBinary } from "../program.ts";
import { settle } from "../settings.ts";
import { createTokenFile, readTokenFile, resolveToken, type Token } from "../token.ts";

/** Prints the token that a master started likewise would use, and makes this user's if there is none. */
export async function token({ line, env, tokenText }: Invocation): Promise<number> {
  const settings = settle(line, env);
  const found = await resolveToken({
    file: settings["token-file"],
    text: tokenText,
    env,
    binary: compiledBinary(),
    mayCreate: true,
    warn: (sentence) => process.stderr.write(reported(sentence)),
  });
  if (settings.write === undefined) {
    process.stdout.write(`${found.text}\n`);
    return 0;
  }
  await write(resolve(settings.write), found);
  // It is found beside the binary by its name alone.
  const name = "taskmaster.token";
  const copies = basename(settings.write) === name
    ? [["taskmaster", settings.write, "web1:"]]
    : [["taskmaster", "web1:"], [settings.write, `web1:${name}`]];
  process.stderr.write([
    printable(
      `Token of ${found.from} written to ${settings.write}. Copy it beside the binary of each other machine:`,
      Infinity,
    ),
    "",
    ...copies.map((words) => `  ${shellQuote(["scp", ...words])}`),
    "",
  ].join("\n"));
  return 0;
}

/** A file that holds this token already is left alone, one that holds anything else is not touched. */
async function write(path: string, { text }: Token): Promise<void> {
  if (await createTokenFile(path, text, "Name another one with --write.")) return;
  if (await readTokenFile(path, undefined) === text) return;
  throw new UsageError(
    `The file ${path} is there and does not hold this token: remove it, or name another one with --write.`,
  );
}
