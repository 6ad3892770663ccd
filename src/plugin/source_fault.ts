import { describeError, hasPluginFrames, isOwnFrame } from "./describe_error.ts";

/** `getJobs` or `cursor` did what ends the reading. Never leaves this folder. */
export class SourceFault extends Error {
  /** Calling `getJobs` again cannot help. */
  readonly fatal: boolean;

  constructor(message: string, fatal: boolean) {
    super(message);
    this.fatal = fatal;
  }
}

/**
 * What `ctx.fatal` throws, so that the code that called it ends there. Nobody needs to catch it: the verdict holds all the
 * same.
 */
export class FatalCall extends Error {}

/** What the plugin threw, with the plugin's frames of its stack, as a fault that may pass. */
export function thrown(what: string, error: unknown): SourceFault {
  const { message, stack } = describeError(error);
  const isHeaded = stack.includes(message.split("\n", 1)[0]!.replace(/…$/, ""));
  // Where this program read what the plugin gave it helps nobody.
  const isOurs = !hasPluginFrames(stack) && stack.split("\n").some(isOwnFrame);
  const lines = stack === "" || isOurs ? "" : isHeaded ? `\n${stack}` : `\n${message}\n${stack}`;
  return new SourceFault(`${what} threw: ${message}${lines}`, false);
}
