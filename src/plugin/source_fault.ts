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

const comparedObject =
  "getJobs compares `last`, or adds to it, and `last` is an object: the cursor of a job, which is " +
  "the whole job if the plugin exports no `cursor`. No job would be found behind it. Read its fields, as in `last.id`; or " +
  "export `cursor`, as in `(job) => job.id`, and start over with --reset";

/**
 * `last` as the plugin is given it. Of an object no number can be made by mistake: `job.id > last` would be false for every
 * job, and the run would end as if all were handled.
 */
export function guardedLast(last: unknown): unknown {
  if (typeof last !== "object" || last === null || Array.isArray(last) || last instanceof Date) return last;
  const value = (hint: string) => {
    if (hint === "string") return "[object Object]";
    const { message, stack } = describeError(new Error(comparedObject));
    throw new SourceFault(hasPluginFrames(stack) ? `${message}\n${stack}` : message, true);
  };
  return ArrayBuffer.isView(last) ? last : Object.defineProperty(last, Symbol.toPrimitive, { value });
}
