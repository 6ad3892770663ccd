import { existsSync, mkdirSync, readdirSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** Where a control group can be made that limits memory, and what its limit is called: version 2, else version 1. */
const places = [
  { folder: "/sys/fs/cgroup", limit: "memory.max" },
  { folder: "/sys/fs/cgroup/memory", limit: "memory.limit_in_bytes" },
];

/** A control group whose processes the kernel kills, the largest first, when they have more memory than allowed. */
export class MemoryCage {
  readonly #folder: string;

  private constructor(folder: string) {
    this.#folder = folder;
  }

  /** The reason, if there can be none here. */
  static open(bytes: number): MemoryCage | string {
    let reason = "there are no control groups";
    for (const { folder, limit } of places.filter(({ folder }) => existsSync(folder))) {
      const own = join(folder, `taskmaster-test-${process.pid}`);
      try {
        mkdirSync(own);
        const cage = new MemoryCage(own);
        if (readdirSync(own).includes(limit)) {
          writeFileSync(join(own, limit), String(bytes));
          return cage;
        }
        cage.close();
        reason = `${folder} does not limit memory`;
      } catch (error) {
        reason = String(error);
      }
    }
    return reason;
  }

  /** What a command line begins with to run within. */
  get within(): readonly string[] {
    return ["sh", "-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"', this.#folder];
  }

  /** Its processes must have ended. */
  close(): void {
    rmdirSync(this.#folder);
  }
}
