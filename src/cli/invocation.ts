import type { Faults } from "./faults.ts";
import type { CommandName, OptionName } from "./options.ts";

/** A command line, read but not yet judged by value. */
export type CommandLine = Readonly<{
  command: CommandName;
  /** Words behind the command that are no flags. */
  words: readonly string[];
  /** Flags as they were written: text, or a boolean for a switch. */
  flags: Readonly<Partial<Record<OptionName, string | boolean>>>;
}>;

/** What a command is called with. */
export type Invocation = Readonly<{
  line: CommandLine;
  /** The words behind the program's name, as they were typed. */
  argv: readonly string[];
  /** The environment without the token. */
  env: Readonly<Record<string, string | undefined>>;
  /** TASKMASTER_TOKEN, which is no longer in the environment. */
  tokenText: string | undefined;
  /** Whether a process of ours started this one. */
  isChild: boolean;
  faults: Faults;
}>;

/** Carries a command out; resolves with the exit code. */
export type Command = (invocation: Invocation) => Promise<number>;
