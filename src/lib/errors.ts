/** `below`: see `TaskmasterError`. */
export type TaskmasterErrorOptions = ErrorOptions & Readonly<{ below?: readonly string[] }>;

/**
 * The few error classes that a caller catches. Each is shown to a person as its message, and ends the
 * program with its `exitCode`; anything else that is thrown is a fault of ours and is shown with its stack.
 * A message is a whole sentence: the action, a colon, the state, and what to do next. It may hold foreign text as it is:
 * who shows it escapes it, line breaks included.
 */
export abstract class TaskmasterError extends Error {
  /** What the program exits with when this error ends it. */
  abstract readonly exitCode: number;
  /** Lines of their own below the message: calls that led to it, commands to copy. */
  readonly below: readonly string[];

  constructor(message: string, { below = [], ...options }: TaskmasterErrorOptions = {}) {
    super(message, options);
    this.below = below;
  }

  override get name(): string {
    return this.constructor.name;
  }
}

/** Wrong words on the command line or in the environment. */
export class UsageError extends TaskmasterError {
  readonly exitCode = 2;
}

/** The plugin cannot be loaded, or has the wrong shape. */
export class PluginError extends TaskmasterError {
  readonly exitCode = 4;

  /** The message, with the calls in the plugin that led to it below. */
  get text(): string {
    return [this.message, ...this.below].join("\n");
  }
}

/** Cannot listen or connect; refused; another protocol version, token or run. */
export class ConnectError extends TaskmasterError {
  readonly exitCode = 5;
}

/** The state is locked, corrupt, not writable, or of another run. */
export class StateError extends TaskmasterError {
  readonly exitCode = 6;
}

/**
 * Asserts what cannot be otherwise unless the program is wrong.
 *
 * @throws {Error} with `message` if `condition` is false; never caught on purpose.
 */
export function invariant(condition: unknown, message: string): asserts condition {
  if (!condition) throw new Error(message);
}
