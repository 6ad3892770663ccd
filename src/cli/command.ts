import type { CommandName, OptionName } from "./options.ts";
import type { Faults } from "./signals.ts";

/** A command line, read but not yet judged by value. */
export type CommandLine = Readonly<{
  command: CommandName;
  /** Words behind the command that are no flags. */
  words: readonly string[];
  /** Flags as they were written: text, or a boolean for a switch. */
  flags: Readonly<Partial<Record<OptionName, string | boolean>>>;
}>;

/** The words behind a command that takes a plugin. */
export type PluginWords = Readonly<{
  path: string;
  exportName: string | undefined;
  /** The `name=value` words. */
  args: Readonly<Record<string, string>>;
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

/** What a command that takes a plugin is called with. */
export type PluginInvocation = Invocation & Readonly<{ plugin: PluginWords }>;

/** Carries a command out; resolves with the exit code. */
export type Command<I = Invocation> = (invocation: I) => Promise<number>;

/** A command: what help says of it, the words it takes, and its code. */
export type CommandRow =
  & Readonly<{
    usage: string;
    summary: string;
    /** Shown first in help; the words behind `taskmaster`. */
    examples: readonly (readonly [words: string, what: string])[];
    /** More for its help, a paragraph each. */
    notes?: readonly string[];
  }>
  & (RunsPlugin | TakesWords);

/** It runs a plugin, and has a log on which it says what else is to be said. */
export type RunsPlugin = Readonly<{
  /** Whether `name=value` words come behind the plugin. */
  plugin: "with arguments" | "alone";
  load: () => Promise<Command<PluginInvocation>>;
}>;

export type TakesWords = Readonly<{
  words: Readonly<{
    most: number;
    /** Name of the first word, if one is required. */
    needs?: string;
    /** What to write instead of a word too many, as a clause. */
    instead?: string;
  }>;
  load: () => Promise<Command>;
}>;

export type Commands = Readonly<Record<CommandName, CommandRow>>;
