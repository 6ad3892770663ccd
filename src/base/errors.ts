/**
 * The few error classes that a caller catches. Each is shown to a person as its message alone, and ends the
 * program with its `exitCode`; anything else that is thrown is a fault of ours and is shown with its stack.
 * A message is a whole sentence: the action, a colon, the state, and what to do next.
 */
export abstract class TaskmasterError extends Error {
  /** What the program exits with when this error ends it. */
  abstract readonly exitCode: number;
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
  /** Shown below the message: the calls in the plugin that led to it, a line each. Empty if there are none. */
  readonly frames: string;

  constructor(message: string, { frames = "", ...options }: ErrorOptions & { frames?: string } = {}) {
    super(message, options);
    this.frames = frames;
  }

  /** The message, with the frames below it. */
  get text(): string {
    return this.frames === "" ? this.message : `${this.message}\n${this.frames}`;
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

/** `getJobs` threw for good, or yielded what cannot be sent. The run can be resumed. */
export class SourceError extends TaskmasterError {
  readonly exitCode = 1;
}

/**
 * Asserts what cannot be otherwise unless the program is wrong.
 *
 * @throws {Error} with `message` if `condition` is false; never caught on purpose.
 */
export function invariant(condition: unknown, message: string): asserts condition {
  if (!condition) throw new Error(message);
}
