/** Environment of a worker process, from its supervisor; taken out before the plugin is loaded. */
export const workerVariables = {
  /** The socket to connect to; `@` stands for the NUL of an abstract name. */
  address: "TASKMASTER_WORKER_SOCKET",
  /** Proves that it is the worker that was started. */
  secret: "TASKMASTER_WORKER_SECRET",
  /** Of the supervisor, removed when that is gone; empty if there is none. */
  folder: "TASKMASTER_WORKER_FOLDER",
  /** File of start notes; empty if there is none. */
  note: "TASKMASTER_WORKER_NOTE",
  /** File for what could not be said before an exit; empty if there is none. */
  last: "TASKMASTER_WORKER_LAST",
} as const;

/** What a worker exits with whose connection to the supervisor is gone: only a handler, or a frame refused, ends it. */
export const cutOffExitCode = 71;
/** What it exits with when something threw outside of any job. It says what, if it still can. */
export const brokenExitCode = 70;
