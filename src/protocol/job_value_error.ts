import type { DataSource, Fault } from "./job_fault.ts";

/**
 * A yielded value that would not arrive as it was sent. The message names the place inside the job and the
 * reason; who knows the job's number adds it.
 */
export class JobValueError extends TypeError {
  /** Where in the job, such as `$.user.tags[3]`. */
  readonly path: string;
  /** What is wrong there, in words. */
  readonly reason: string;
  /** As in `Fault`. */
  readonly dataFault: string | null;
  /** As in `Fault`. */
  readonly source: DataSource | undefined;

  constructor(fault: Fault) {
    super(`Cannot send this job: at ${fault.path} there is ${fault.reason}`);
    this.path = fault.path;
    this.reason = fault.reason;
    this.dataFault = fault.dataFault;
    this.source = fault.source;
  }

  override get name(): string {
    return "JobValueError";
  }
}
