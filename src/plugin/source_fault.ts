import { describeError } from "./describe_error.ts";

/** `getJobs` or `cursor` did what ends the reading. Never leaves this folder. */
export class SourceFault extends Error {
  /** Calling `getJobs` again cannot help. */
  readonly fatal: boolean;

  constructor(message: string, fatal: boolean) {
    super(message);
    this.fatal = fatal;
  }
}

/** What the plugin threw, with the plugin's frames of its stack, as a fault that may pass. */
export function thrown(what: string, error: unknown): SourceFault {
  const { message, stack } = describeError(error);
  const isHeaded = stack.includes(message.split("\n", 1)[0]!.replace(/…$/, ""));
  const lines = stack === "" ? "" : isHeaded ? `\n${stack}` : `\n${message}\n${stack}`;
  return new SourceFault(`${what} threw: ${message}${lines}`, false);
}
