import { TaskmasterError } from "../base/errors.ts";

/**
 * A state or dead letter could not be made durable this time (disk full, an I/O error); the last good file stays.
 * Its message is the end of a sentence: what failed, and why. Trying again is right, whereas a `StateError` ends the run. If it was the last save, it ends the program with 6.
 */
export class SaveError extends TaskmasterError {
  readonly exitCode = 6;
}

/** The dead letters would take more of the disk than they may: nothing was written. The run is to end; no try helps. */
export class NoRoomError extends Error {}
