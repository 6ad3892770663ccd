/** `below`: see `TaskmasterError`. */
export type TaskmasterErrorOptions = ErrorOptions & Readonly<{ below?: readonly string[] }>;

/**
 * The few error classes that callers catch. A person sees the message, and the program exits with `exitCode`; any other
 * error is a bug of ours and is shown with its stack. A message is a whole sentence: the action, a colon, the state,
 * and what to do next. It may contain foreign text unescaped: whoever shows it must escape it, line breaks included.
 */
export abstract class TaskmasterError extends Error {
  /** Exit code of the program if this error ends it. */
  abstract readonly exitCode: number;
  /** Lines shown below the message: calls that led to the error, commands to copy. */
  readonly below: readonly string[];

  constructor(message: string, { below = [], ...options }: TaskmasterErrorOptions = {}) {
    super(message, options);
    this.below = below;
  }

  override get name(): string {
    return this.constructor.name;
  }
}

/** Invalid arguments on the command line or in the environment. */
export class UsageError extends TaskmasterError {
  readonly exitCode = 2;
}

/** The plugin cannot be loaded, or has the wrong shape. */
export class PluginError extends TaskmasterError {
  readonly exitCode = 4;

  /** The message, with the calls in the plugin that led to the error below it. */
  get text(): string {
    return [this.message, ...this.below].join("\n");
  }
}

/** Cannot listen or connect; rejected by the peer; another protocol version, token or run. */
export class ConnectError extends TaskmasterError {
  readonly exitCode = 5;
}

/** The state is locked, corrupt, not writable, or belongs to another run. */
export class StateError extends TaskmasterError {
  readonly exitCode = 6;
}

/**
 * Asserts a condition that only a bug can make false.
 *
 * @throws {Error} with `message` if `condition` is false; no caller catches it.
 */
export function invariant(condition: unknown, message: string): asserts condition {
  if (!condition) throw new Error(message);
}
