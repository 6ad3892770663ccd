import type { Measured, Rig } from "./rig.ts";
import type { Shape } from "./rows.ts";

export type Load = Readonly<{ shape: Shape; jobs: number }>;

/** Whether a system can be measured here: its version, or what would bring it. */
export type Presence = Readonly<{ version: string } | { missing: string }>;

/** Something that gets jobs from a source to handlers, in one configuration. */
export type System = Readonly<{
  /** For `--only`, and to tell systems apart. */
  id: string;
  /** As the tables and the chart name it. */
  label: string;
  /** The bare loop that it is held against, by id. */
  bareLoop?: string;
  kind: "bare loop" | "taskmaster" | "peer";
  /** How it is set up, and what of it is on disk: a line of the document. */
  setting: string;
  /** Jobs of one round: some ten seconds of work where code is compiled while it runs, else some seconds. */
  jobs: Readonly<Record<Shape, number>>;
  find(): Presence;
  /**
   * Hands out and handles all jobs. The clock starts when every process is up, and stops at the last ack or, where a
   * system has none that can be seen, when all jobs are known to be done; docs/performance.md names the exceptions.
   */
  run(load: Load, rig: Rig): Promise<Measured>;
}>;
